/* What boards/zephyr/samples/control takes from Zephyr, declared for a test; k_timer_start fires three times. */
#include <stddef.h>
#include <stdint.h>
typedef struct {
    int64_t us;
} k_timeout_t;
struct k_timer {
    void (*expiry)(struct k_timer *timer);
};
#define K_USEC(t) ((k_timeout_t){t})
#define K_TIMER_DEFINE(name, on_expiry, on_stop) struct k_timer name = {on_expiry}
#define ARG_UNUSED(x) (void)(x)
extern double board_period;
static inline void k_timer_start(struct k_timer *timer, k_timeout_t duration, k_timeout_t period)
{
    int i;
    board_period = 1e-6 * (double)period.us;
    for (i = 0; i < 3 && duration.us == period.us; i++) {
        timer->expiry(timer);
    }
}
static inline void k_yield(void)
{
}
