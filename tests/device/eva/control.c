/* The commands of a controller, for every theta, state and place of the active set. */
#include "eva.h"

int main(void)
{
    static scpo_controller controller;
    static scpo_real theta[SCPO_NTHETA];
    scpo_real x[SCPO_NX];
    scpo_real u[SCPO_NU];
    any_reals(theta, SCPO_NTHETA);
    any_reals(x, SCPO_NX);
    (void)scpo_control(theta, x, u);
    (void)scpo_controller_begin(&controller, theta);
    while (any()) {
        any_reals(x, SCPO_NX);
        (void)scpo_controller_control(&controller, x, u);
        if (any()) {
            scpo_parameters *spare = scpo_controller_spare(&controller);
            any_reals(spare->theta, SCPO_NTHETA);
            scpo_parameters_prepare(spare);
            (void)scpo_controller_switch(&controller);
        }
    }
    return 0;
}
