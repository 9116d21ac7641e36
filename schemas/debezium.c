#include "schemas/debezium.h"

#define COMMON "io.debezium.connector.common"

const char debezium_transaction_key[] =
    "{\"type\":\"record\",\"name\":\"TransactionMetadataKey\",\"namespace\":\"" COMMON "\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"}],\"connect.version\":1,\"connect.name\":\"" COMMON ".TransactionMetadataKey\"}";

const char debezium_transaction_value[] =
    "{\"type\":\"record\",\"name\":\"TransactionMetadataValue\",\"namespace\":\"" COMMON "\",\"fields\":["
    "{\"name\":\"status\",\"type\":\"string\"},{\"name\":\"id\",\"type\":\"string\"},"
    "{\"name\":\"event_count\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"data_collections\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\","
    "{\"type\":\"record\",\"name\":\"collection\",\"namespace\":\"event\",\"fields\":["
    "{\"name\":\"data_collection\",\"type\":\"string\"},{\"name\":\"event_count\",\"type\":\"long\"}],"
    "\"connect.version\":1,\"connect.name\":\"event.collection\"}]}],\"default\":null},"
    "{\"name\":\"ts_ms\",\"type\":\"long\"}],\"connect.version\":1,\"connect.name\":\"" COMMON ".TransactionMetadataValue\"}";

const char debezium_heartbeat_key[] =
    "{\"type\":\"record\",\"name\":\"ServerNameKey\",\"namespace\":\"" COMMON "\",\"fields\":["
    "{\"name\":\"serverName\",\"type\":\"string\"}],\"connect.version\":1,\"connect.name\":\"" COMMON ".ServerNameKey\"}";

const char debezium_heartbeat_value[] =
    "{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":\"" COMMON "\",\"fields\":["
    "{\"name\":\"ts_ms\",\"type\":\"long\"}],\"connect.version\":1,\"connect.name\":\"" COMMON ".Heartbeat\"}";

static void
put_long(struct buf *out, int64_t i)
{
	uint64_t v = ((uint64_t)i << 1) ^ (uint64_t)(i >> 63);

	for (; v >= 0x80; v >>= 7)
		buf_byte(out, (uint8_t)(v | 0x80));
	buf_byte(out, (uint8_t)v);
}

void
debezium_put_key(struct slice text, struct buf *out)
{
	buf_avro_bytes(out, text);
}

void
debezium_put_begin(struct slice id, int64_t ms, struct buf *out)
{
	buf_avro_bytes(out, SLICE_LIT("BEGIN"));
	buf_avro_bytes(out, id);
	buf_byte(out, 0); /* event_count */
	buf_byte(out, 0); /* data_collections */
	put_long(out, ms);
}

void
debezium_put_end(struct slice id, const struct debezium_share *shares, int n, int64_t ms, struct buf *out)
{
	int64_t all = 0;

	for (int i = 0; i < n; i++)
		all += shares[i].count;
	buf_avro_bytes(out, SLICE_LIT("END"));
	buf_avro_bytes(out, id);
	buf_byte(out, 2);
	put_long(out, all);
	buf_byte(out, 2);
	put_long(out, n); /* one block */
	for (int i = 0; i < n; i++) {
		buf_byte(out, 2);
		buf_avro_bytes(out, shares[i].table);
		put_long(out, shares[i].count);
	}
	if (n)
		buf_byte(out, 0);
	put_long(out, ms);
}

void
debezium_put_heartbeat(int64_t ms, struct buf *out)
{
	put_long(out, ms);
}
