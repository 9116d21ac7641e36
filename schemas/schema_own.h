/*
 * schema_own.h - attributes by which our schemas say what Avro has no words for (schemas/README.md, "Envelope"). For schema*.c only.
 */
#ifndef SCHEMAS_SCHEMA_OWN_H
#define SCHEMAS_SCHEMA_OWN_H

/* Of a field of Value. */
#define OWN_NAME    "towline.name"    /* the column's, where Avro does not take it as a field's */
#define OWN_TYPE    "towline.type"    /* "character varying(20)"; in another form than the default: what it is, "numeric(10,2)" */
#define OWN_CODED   "towline.coded"   /* bytes as text: "base64", "base64-url-safe" or "hex"; of an array: its items */
#define OWN_DEFAULT "towline.default" /* "expression": rows that were there got values that no schema tells */
#define OWN_WAS     "towline.was"     /* its name in the version before; of Value itself: {"schema", "table", "key": [names]} likewise */
#define OWN_KEY     "towline.key"     /* of Value: the fields of the table's key, where the key of the records is another */
#define OWN_NEW     "towline.new"     /* true: known to be no column of the version before by another name */

/* Of OWN_CODED, by enum coded. */
#define OWN_CODINGS { "bytes", "base64", "base64-url-safe", "hex" }

#endif
