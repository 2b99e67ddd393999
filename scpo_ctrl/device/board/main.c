/* The program of an emulated board: a controller and its adaptation behind the serial line, with the board's own counter
 * of instructions. Besides the requests of scpo_link.h it answers 'S' (kind, pieces (4) -> bytes of stack that a control
 * call, or that many pieces, took at most) and 'Q', which ends it. */
#include <stdint.h>
#include <string.h>

#include "scpo_link.h"
#include "scpo_model.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define BYTE(address) (*(volatile uint8_t *)(uintptr_t)(address))
#define PAINTED 6000 /* bytes of stack that are watched */
#define OWN 96       /* bytes of it that the watching function may use itself */

static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;
static int running = 1;
static int walking = -1; /* the scenario whose plant parameters its own plant has, or none */
static scpo_real state[SCPO_NX];

#ifdef __riscv

#define UART 0x10000000u /* 16550 */

static void board_begin(void)
{
}

static void board_put(void *user, unsigned char byte)
{
    (void)user;
    while (!(BYTE(UART + 5) & 0x20u)) {
    }
    BYTE(UART) = byte;
}

static int board_has(void)
{
    return BYTE(UART + 5) & 1u;
}

static unsigned char board_get(void)
{
    return BYTE(UART);
}

static void board_wait(void)
{
}

static uint32_t board_clock(void *user)
{
    uint32_t count;
    (void)user;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}

#else

/* CMSDK: the timer counts down, a tick is TICK ns, an instruction 64 ns of the emulator's time. A byte that has come is
 * an interrupt that is never taken, but ends board_wait: so the emulator takes no time of its computer meanwhile. */
#define CLEAR 0x180u /* from a word of interrupts that are enabled to those that are pending no more */
#define OF_UART 3u

static void board_begin(void)
{
    __asm__ volatile("cpsid i");
    REGISTER(ENABLED) = OF_UART;
    REGISTER(UART + 16) = 16u;
    REGISTER(UART + 8) = 11u;
    REGISTER(TIMER + 8) = 0xFFFFFFFFu;
    REGISTER(TIMER + 4) = 0xFFFFFFFFu;
    REGISTER(TIMER) = 1u;
}

static void board_put(void *user, unsigned char byte)
{
    (void)user;
    while (REGISTER(UART + 4) & 1u) {
    }
    REGISTER(UART) = byte;
}

static int board_has(void)
{
    return (REGISTER(UART + 4) & 2u) != 0;
}

static unsigned char board_get(void)
{
    REGISTER(UART + 12) = 2u; /* first, as the next byte comes as soon as this one is taken */
    REGISTER(ENABLED + CLEAR) = OF_UART;
    return (unsigned char)REGISTER(UART);
}

static void board_wait(void)
{
    __asm__ volatile("wfi");
}

static uint32_t board_clock(void *user) /* in ticks; the host knows how many instructions one is */
{
    (void)user;
    return ~REGISTER(TIMER + 4);
}

#endif

#ifdef BOARD_FLASH

#include <stdio.h>

#include "scpo_store.h"

#define SECTORS 4u
#define SECTOR 2048u

static FILE *file;
static scpo_store store;

static int flash_read(void *user, uint32_t address, unsigned char *data, uint32_t size)
{
    (void)user;
    return fseek(file, (long)address, SEEK_SET) != 0 || fread(data, 1, size, file) != size;
}

static int flash_program(void *user, uint32_t address, const unsigned char *data, uint32_t size)
{
    (void)user;
    return fseek(file, (long)address, SEEK_SET) != 0 || fwrite(data, 1, size, file) != size || fflush(file) != 0;
}

static int flash_erase(void *user, uint32_t address, uint32_t size)
{
    static unsigned char blank[64];
    uint32_t done;
    memset(blank, 0xFF, sizeof blank);
    for (done = 0; done < size; done += sizeof blank) {
        if (flash_program(user, address + done, blank, sizeof blank) != 0) {
            return 1;
        }
    }
    return 0;
}

static const scpo_flash flash = {SECTORS, SECTOR, 8u, 0xFF, flash_read, flash_program, flash_erase, NULL};

/* theta is what was saved last, or stays. */
static void board_restore(scpo_real *theta)
{
    scpo_real found[SCPO_NTHETA];
    file = fopen(BOARD_FLASH, "r+b");
    if (!file) { /* a new part */
        file = fopen(BOARD_FLASH, "w+b");
        (void)flash_erase(NULL, 0, SECTORS * SECTOR);
    }
    (void)setvbuf(file, NULL, _IONBF, 0);
    if (scpo_store_begin(&store, &flash) == SCPO_STORE_OK) {
        if (scpo_store_load(&store, found) == SCPO_STORE_OK) {
            memcpy(theta, found, sizeof found);
        }
        (void)scpo_store_prepare(&store, 1);
    }
}

static void board_keep(void)
{
    const scpo_real *theta = controller.set[controller.active & 1].theta;
    if (scpo_store_save(&store, theta) == SCPO_STORE_BUSY) { /* nothing here minds that erasing stops it */
        (void)scpo_store_prepare(&store, 1);
        (void)scpo_store_save(&store, theta);
    }
}

#else

static void board_restore(scpo_real *theta)
{
    (void)theta;
}

static void board_keep(void)
{
}

#endif

static void do_control(void)
{
    static const scpo_real x[SCPO_NX];
    scpo_real u[SCPO_NU];
    (void)scpo_controller_control(&controller, x, u);
}

static void do_piece(void)
{
    (void)scpo_adapter_poll(&adapter, 1);
}

/* Bytes of stack below this function's frame that some work changes. */
static uint32_t __attribute__((noinline)) depth_of(void (*work)(void))
{
    volatile uint8_t *here = (volatile uint8_t *)__builtin_frame_address(0);
    int i;
    for (i = OWN; i < PAINTED; i++) {
        here[-i] = 0xA5u;
    }
    work();
    i = PAINTED - 1;
    while (i > OWN && here[-i] == 0xA5u) {
        i--;
    }
    return (uint32_t)i;
}

static void answer_stack(const unsigned char *payload)
{
    uint32_t pieces = (uint32_t)payload[1] | ((uint32_t)payload[2] << 8) | ((uint32_t)payload[3] << 16);
    uint32_t most = payload[0] ? 0 : depth_of(do_control);
    unsigned char answer[4];
    int i;
    while (payload[0] && pieces-- > 0) {
        const uint32_t depth = depth_of(do_piece);
        most = depth > most ? depth : most;
    }
    for (i = 0; i < 4; i++) {
        answer[i] = (unsigned char)(most >> (8 * i));
    }
    scpo_link_send(&server, 'S', answer, 4);
}

/* A sample of its own plant, where the ring has room for it; otherwise it waits for a byte. */
static void walk(void)
{
    scpo_real u[SCPO_NU];
    scpo_real next[SCPO_NX];
    int i;
    if (walking < 0 || telemetry.written - telemetry.taken == SCPO_TELEMETRY) {
        board_wait();
        return;
    }
    scpo_telemetry_put(&telemetry, state, u, scpo_controller_control(&controller, state, u));
    scpo_model_step(state, u, scpo_plant_parameters[walking], next);
    for (i = 0; i < SCPO_NX; i++) {
        state[i] = next[i];
    }
}

static int answer_walk(const unsigned char *payload)
{
    const int rollout = payload[0] | (payload[1] << 8);
    if (rollout >= SCPO_NROLLOUTS) {
        return 0;
    }
    walking = rollout;
    memcpy(state, payload + 2, sizeof state);
    scpo_link_send(&server, 'W', payload, 0);
    return 1;
}

static int board_request(void *user, unsigned char type, const unsigned char *payload, uint16_t length)
{
    (void)user;
    if (type == 'S' && length == 5) {
        answer_stack(payload);
        return 1;
    }
    if (type == 'W' && length == 2 + sizeof state) {
        return answer_walk(payload);
    }
    if (type == 'Q' && length == 0) {
        scpo_link_send(&server, 'Q', payload, 0);
        running = 0;
        return 1;
    }
    return 0;
}

int main(void)
{
    volatile int left = 200000; /* turns in which the last answer leaves */
    static scpo_real theta[SCPO_NTHETA];
    unsigned char kept = 0;
    board_begin();
    memcpy(theta, scpo_theta_initial, sizeof theta);
    board_restore(theta);
    (void)scpo_controller_begin(&controller, theta);
    scpo_adapter_begin(&adapter, &controller);
    server.controller = &controller;
    server.adapter = &adapter;
    server.telemetry = &telemetry;
    server.put = board_put;
    server.clock = board_clock;
    server.other = board_request;
    while (running) {
        if (board_has()) {
            scpo_server_receive(&server, board_get());
            if (controller.active != kept) {
                kept = controller.active;
                board_keep();
            }
        } else {
            walk();
        }
    }
    while (left > 0) {
        left--;
    }
    return 0;
}
