/* What boards/timers/stm32.c takes from the HAL of STM32, declared for a test; HAL_TIM_Base_Start_IT fires three times. */
#include <stdint.h>
typedef struct {
    volatile uint32_t PSC, ARR, CNT;
} TIM_TypeDef;
typedef struct {
    TIM_TypeDef *Instance;
} TIM_HandleTypeDef;
extern TIM_TypeDef board_tim2;
extern uint32_t SystemCoreClock;
#define TIM2 (&board_tim2)
#define __HAL_TIM_SET_PRESCALER(handle, value) ((handle)->Instance->PSC = (value))
#define __HAL_TIM_SET_AUTORELOAD(handle, value) ((handle)->Instance->ARR = (value))
#define __HAL_TIM_SET_COUNTER(handle, value) ((handle)->Instance->CNT = (value))
int HAL_TIM_Base_Start_IT(TIM_HandleTypeDef *htim);
void HAL_TIM_PeriodElapsedCallback(TIM_HandleTypeDef *htim);
void scpo_timer_begin(void);
#ifdef BOARD_STUBS
TIM_TypeDef board_tim2;
TIM_HandleTypeDef htim2 = {&board_tim2};
uint32_t SystemCoreClock = 170000000;
int HAL_TIM_Base_Start_IT(TIM_HandleTypeDef *htim)
{
    int i;
    board_period = (htim->Instance->ARR + 1.0) * (htim->Instance->PSC + 1.0) / SystemCoreClock;
    for (i = 0; i < 3; i++) {
        HAL_TIM_PeriodElapsedCallback(htim);
    }
    return 0;
}
#endif
