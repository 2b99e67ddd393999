/* Start of a Cortex-M program under QEMU: floating-point unit on, data and bss set up, main's status handed to the
 * emulator by semihosting. Any fault ends the emulator with status 120. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern uint32_t stack_top, data_image, data_start, data_end, bss_start, bss_end; /* from link.ld */

int main(void);
void initialise_monitor_handles(void); /* newlib: opens stdout through semihosting */
void __libc_init_array(void);
void reset_handler(void);
void fault_handler(void);
void _exit(int status);
void _init(void);
void _fini(void);

#define COPROCESSOR_ACCESS ((volatile uint32_t *)0xE000ED88u)
#define SYS_EXIT_EXTENDED 0x20u
#define APPLICATION_EXIT 0x20026u

void _exit(int status)
{
    const uint32_t block[2] = {APPLICATION_EXIT, (uint32_t)status};
    register uint32_t operation __asm__("r0") = SYS_EXIT_EXTENDED;
    register const uint32_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(operation) : "r"(argument) : "memory");
    for (;;) {
    }
}

void _init(void)
{
}

void _fini(void)
{
}

void fault_handler(void)
{
    _exit(120);
}

void reset_handler(void)
{
    int status;
#ifdef __ARM_FP
    *COPROCESSOR_ACCESS |= 0xFu << 20; /* full access to CP10 and CP11 */
    __asm__ volatile("dsb\n isb");
#endif
    memcpy(&data_start, &data_image, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    initialise_monitor_handles();
    __libc_init_array();
    status = main();
    (void)fflush(stdout);
    _exit(status);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top,    reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, 0,
    0,             0,             0,             fault_handler, fault_handler, 0,             fault_handler, fault_handler,
};
