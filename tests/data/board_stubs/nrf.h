/* What boards/timers/nrf.c takes from nrfx, declared for a test; NVIC_EnableIRQ fires three times once it starts. */
#include <stdint.h>
typedef struct {
    volatile uint32_t TASKS_START, TASKS_STOP, TASKS_CLEAR, MODE, BITMODE, PRESCALER, SHORTS, INTENSET;
    volatile uint32_t EVENTS_COMPARE[6], CC[6];
} NRF_TIMER_Type;
typedef enum { TIMER1_IRQn = 9 } IRQn_Type;
extern NRF_TIMER_Type board_timer1;
#define NRF_TIMER1 (&board_timer1)
#define TIMER_MODE_MODE_Timer 0u
#define TIMER_BITMODE_BITMODE_32Bit 3u
#define TIMER_SHORTS_COMPARE0_CLEAR_Msk 1u
#define TIMER_INTENSET_COMPARE0_Msk 0x10000u
void NVIC_SetPriority(IRQn_Type irq, uint32_t priority);
void NVIC_EnableIRQ(IRQn_Type irq);
void TIMER1_IRQHandler(void);
void scpo_timer_begin(void);
#ifdef BOARD_STUBS
NRF_TIMER_Type board_timer1;
void NVIC_SetPriority(IRQn_Type irq, uint32_t priority)
{
    (void)irq;
    (void)priority;
}
void NVIC_EnableIRQ(IRQn_Type irq)
{
    int i;
    (void)irq;
    board_period = board_timer1.CC[0] / (16e6 / (1u << board_timer1.PRESCALER));
    for (i = 0; i < 3; i++) {
        board_timer1.EVENTS_COMPARE[0] = 1;
        TIMER1_IRQHandler();
        TIMER1_IRQHandler(); /* of another event: no sample */
    }
}
#endif
