/* What boards/timers/rp2350.c takes from the Pico SDK, declared for a test; a timer fires three times. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct repeating_timer {
    int64_t delay_us;
} repeating_timer_t;
typedef bool (*repeating_timer_callback_t)(repeating_timer_t *rt);
bool add_repeating_timer_us(int64_t delay_us, repeating_timer_callback_t callback, void *user_data, repeating_timer_t *out);
bool scpo_timer_begin(void);
#ifdef BOARD_STUBS
bool add_repeating_timer_us(int64_t delay_us, repeating_timer_callback_t callback, void *user_data, repeating_timer_t *out)
{
    int i;
    board_period = -1e-6 * (double)delay_us;
    for (i = 0; i < 3 && callback(out); i++) {
    }
    return user_data == NULL;
}
#endif
