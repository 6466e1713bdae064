// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ends what plait_table.h began: the next family may follow. */
#undef F
#undef F_NAME
#undef F_PASTE
#undef PLAIT_FAMILY
