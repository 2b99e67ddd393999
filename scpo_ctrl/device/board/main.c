/* The program of an emulated board: a controller and its adaptation behind the serial line, with the board's own counter
 * of instructions. Besides the requests of scpo_link.h it answers 'S' (kind, pieces (4) -> bytes of stack that a control
 * call, or that many pieces, took at most) and 'Q', which ends it. */
#include <stdint.h>

#include "scpo_link.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define BYTE(address) (*(volatile uint8_t *)(uintptr_t)(address))
#define PAINTED 6000 /* bytes of stack that are watched */
#define OWN 96       /* bytes of it that the watching function may use itself */

static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;
static int running = 1;

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

static unsigned char board_get(void)
{
    while (!(BYTE(UART + 5) & 1u)) {
    }
    return BYTE(UART);
}

static uint32_t board_clock(void *user)
{
    uint32_t count;
    (void)user;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}

#else

/* CMSDK: the timer counts down, a tick is TICK ns, an instruction 64 ns of the emulator's time. */
static void board_begin(void)
{
    REGISTER(UART + 16) = 16u;
    REGISTER(UART + 8) = 3u;
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

static unsigned char board_get(void)
{
    while (!(REGISTER(UART + 4) & 2u)) {
    }
    return (unsigned char)REGISTER(UART);
}

static uint32_t board_clock(void *user) /* in ticks; the host knows how many instructions one is */
{
    (void)user;
    return ~REGISTER(TIMER + 4);
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

static int board_request(void *user, unsigned char type, const unsigned char *payload, uint16_t length)
{
    (void)user;
    if (type == 'S' && length == 5) {
        answer_stack(payload);
        return 1;
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
    board_begin();
    (void)scpo_controller_begin(&controller, scpo_theta_initial);
    scpo_adapter_begin(&adapter, &controller);
    server.controller = &controller;
    server.adapter = &adapter;
    server.telemetry = &telemetry;
    server.put = board_put;
    server.clock = board_clock;
    server.other = board_request;
    while (running) {
        scpo_server_receive(&server, board_get());
    }
    while (left > 0) {
        left--;
    }
    return 0;
}
