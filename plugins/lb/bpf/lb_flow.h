// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: what a flow entry keeps of it. Every program has this part, also those that do
 * not balance.
 */
#pragma once
#include <linux/types.h>

/* The service that a flow was balanced for, 0 for none. */
struct lb_flow {
	__u64 service;
};
