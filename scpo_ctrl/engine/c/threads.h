/* Items of work shared among threads that live for one call. SPDX-License-Identifier: MIT */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>

#include "engine.h"

#define MOST_THREADS 256

typedef void engine_task(const void *job, long item, lane *work);

typedef struct {
    engine_task *task;
    const void *job;
    long count;
    long *next; /* the first item that nobody has taken */
    lane *work;
} worker;

static void *work_on(void *argument)
{
    const worker *self = argument;
    long item = __atomic_fetch_add(self->next, 1, __ATOMIC_RELAXED);
    while (item < self->count) {
        self->task(self->job, item, self->work);
        item = __atomic_fetch_add(self->next, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Runs items 0 ... count - 1 on some threads, each with work_size lanes of `work`. */
static void engine_run(engine_task *task, const void *job, long count, long threads, lane *work, long work_size)
{
    worker workers[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    long next = 0, running = 1, k;
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    for (k = 0; k < threads || k == 0; k++) {
        workers[k] = (worker){.task = task, .job = job, .count = count, .next = &next, .work = work + k * work_size};
    }
    while (running < threads && !pthread_create(&started[running], NULL, work_on, &workers[running])) {
        running++; /* where no more can be had, those that run do it all */
    }
    work_on(&workers[0]);
    for (k = 1; k < running; k++) {
        pthread_join(started[k], NULL);
    }
}

#endif /* THREADS_H */
