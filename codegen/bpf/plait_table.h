// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The flow table of one family: included once per PLAIT_FAMILY, after struct plait_parts. */

#define F_PASTE(name, family) name##family
#define F_NAME(name, family) F_PASTE(name, family)
#define F(name) F_NAME(name, PLAIT_FAMILY)

struct F(plait_entry) {
	struct plait_flow flow;
	struct F(plait_tuple) to;
	union F(plait_via) via;
	struct plait_parts parts;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct F(plait_key));
	__type(value, struct F(plait_entry));
} F(plait_flow) SEC(".maps");

/* The key of the other direction's entry. */
static __always_inline struct F(plait_key)
	F(plait_peer_key)(const struct F(plait_entry) *entry, __u8 proto)
{
	return (struct F(plait_key)){
		.saddr = entry->to.daddr,
		.daddr = entry->to.saddr,
		.sport = entry->to.dport,
		.dport = entry->to.sport,
		.zone_proto = PLAIT_ZONE_PROTO(plait_far_zone(&entry->flow), proto),
	};
}
