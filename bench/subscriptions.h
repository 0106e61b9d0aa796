/*  What one peer's very many subscriptions cost a publisher, and its other peers */

#ifndef SUBSCRIPTIONS_H_INCLUDED
#define SUBSCRIPTIONS_H_INCLUDED

#include "measure.h"
#include "sockets.h"

//  The publisher: an XPUB that is bound and whose clients have not been told where. It reports the memory that the
//  subscriptions take.
void subscriptions_weigh (const plan_t *plan, side_t *side, void *xpub);

//  Its peers: one that makes plan->count subscriptions of plan->size bytes, and another that listens meanwhile and reports
//  its longest silence
void subscriptions_make (const plan_t *plan, side_t *side);

#endif
