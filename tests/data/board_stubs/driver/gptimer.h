/* What boards/timers/esp32c3.c takes from ESP-IDF, declared for a test; gptimer_start fires three times. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef int esp_err_t;
#define ESP_OK 0
typedef struct gptimer_t *gptimer_handle_t;
typedef enum { GPTIMER_CLK_SRC_DEFAULT } gptimer_clock_source_t;
typedef enum { GPTIMER_COUNT_DOWN, GPTIMER_COUNT_UP } gptimer_count_direction_t;
typedef struct {
    gptimer_clock_source_t clk_src;
    gptimer_count_direction_t direction;
    uint32_t resolution_hz;
} gptimer_config_t;
typedef struct {
    uint64_t alarm_count;
    uint64_t reload_count;
    struct {
        uint32_t auto_reload_on_alarm : 1;
    } flags;
} gptimer_alarm_config_t;
typedef struct {
    uint64_t count_value;
    uint64_t alarm_value;
} gptimer_alarm_event_data_t;
typedef bool (*gptimer_alarm_cb_t)(gptimer_handle_t timer, const gptimer_alarm_event_data_t *edata, void *user_ctx);
typedef struct {
    gptimer_alarm_cb_t on_alarm;
} gptimer_event_callbacks_t;
esp_err_t gptimer_new_timer(const gptimer_config_t *config, gptimer_handle_t *timer);
esp_err_t gptimer_set_alarm_action(gptimer_handle_t timer, const gptimer_alarm_config_t *config);
esp_err_t gptimer_register_event_callbacks(gptimer_handle_t timer, const gptimer_event_callbacks_t *cbs, void *user);
esp_err_t gptimer_enable(gptimer_handle_t timer);
esp_err_t gptimer_start(gptimer_handle_t timer);
esp_err_t scpo_timer_begin(void);
#ifdef BOARD_STUBS
struct gptimer_t {
    double tick;
    bool enabled;
    gptimer_alarm_cb_t callback;
};
static struct gptimer_t the_timer;
esp_err_t gptimer_new_timer(const gptimer_config_t *config, gptimer_handle_t *timer)
{
    the_timer.tick = 1.0 / config->resolution_hz;
    *timer = &the_timer;
    return config->direction == GPTIMER_COUNT_UP ? ESP_OK : -1;
}
esp_err_t gptimer_set_alarm_action(gptimer_handle_t timer, const gptimer_alarm_config_t *config)
{
    board_period = (double)config->alarm_count * timer->tick;
    return config->flags.auto_reload_on_alarm && config->reload_count == 0 ? ESP_OK : -1;
}
esp_err_t gptimer_register_event_callbacks(gptimer_handle_t timer, const gptimer_event_callbacks_t *cbs, void *user)
{
    timer->callback = cbs->on_alarm;
    return user == NULL && !timer->enabled ? ESP_OK : -1; /* before it is enabled, as ESP-IDF asks */
}
esp_err_t gptimer_enable(gptimer_handle_t timer)
{
    timer->enabled = true;
    return ESP_OK;
}
esp_err_t gptimer_start(gptimer_handle_t timer)
{
    const gptimer_alarm_event_data_t event = {0, 0};
    int i;
    for (i = 0; i < 3 && timer->enabled; i++) {
        (void)timer->callback(timer, &event, NULL);
    }
    return ESP_OK;
}
#endif
