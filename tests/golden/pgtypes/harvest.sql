-- Makes values.tsv: psql -qAt -f harvest.sql > values.tsv, on PostgreSQL 15, in a database with encoding UTF8 and locale C.
-- Columns: declared type, type oid, typmod, text form, hex of the binary send form. COPY's escapes in the text.
SET client_min_messages = warning;
SET datestyle = ISO; SET intervalstyle = postgres; SET timezone = UTC; SET bytea_output = hex; SET extra_float_digits = 1;
CREATE TEMP TABLE golden (n serial, type text, typid oid, typmod int, text text, bin text);
CREATE FUNCTION pg_temp.harvest(type text, VARIADIC vals text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE send regproc; id oid; mod int;
BEGIN
	EXECUTE format('CREATE TEMP TABLE h (v %s)', type);
	SELECT atttypid, atttypmod, typsend INTO id, mod, send FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
		WHERE attrelid = 'h'::regclass AND attname = 'v';
	EXECUTE format('INSERT INTO h SELECT x::%s FROM unnest($1) x', type) USING vals;
	EXECUTE format('INSERT INTO golden (type, typid, typmod, text, bin)
		SELECT %L, %s, %s, format(''%%s'', v), encode(%s(v), ''hex'') FROM h', type, id, mod, send);
	DROP TABLE h;
END $$;
DO $$ BEGIN PERFORM setseed(0.25); END $$;
CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'it''s "fine"');

DO $$ BEGIN
PERFORM pg_temp.harvest('boolean', 't', 'f');
PERFORM pg_temp.harvest('smallint', '0', '1', '-1', '32767', '-32768', '-129', '256');
PERFORM pg_temp.harvest('integer', '0', '-1', '2147483647', '-2147483648', '65536');
PERFORM pg_temp.harvest('bigint', '0', '-1', '9223372036854775807', '-9223372036854775808', '4294967296');
PERFORM pg_temp.harvest('oid', '0', '1', '4294967295', '2147483648');
PERFORM pg_temp.harvest('real', '0', '-0', '1', '0.1', '-1.5', '3.4028235e38', '1e-45', '1.1754944e-38', 'NaN', 'Infinity',
	'-Infinity', '1e6', '999999', '123456.7', '1e-4', '1e-5', '0.00012345', '16777216', '1234567', '3.14159274');
PERFORM pg_temp.harvest('double precision', '0', '-0', '1', '0.1', '1.7976931348623157e308', '5e-324', '2.2250738585072014e-308',
	'NaN', 'Infinity', '-Infinity', '1e15', '999999999999999', '1e14', '123456789012345.6', '1e-4', '1e-5', '0.30000000000000004',
	'9007199254740993', '-12345.678', '1e22', '100');
PERFORM pg_temp.harvest('text', '', 'a', 'Grüße, 世界 🎉', E'tab\tnl\nback\\slash', '{a,b}', repeat('x', 300));
PERFORM pg_temp.harvest('character varying(20)', '', ' a ', 'NULL', '"q"');
PERFORM pg_temp.harvest('character(5)', 'ab', '', 'abcde', 'ü');
PERFORM pg_temp.harvest('name', 'a', repeat('n', 63));
PERFORM pg_temp.harvest('"char"', 'a', '', ' ', '~');
PERFORM pg_temp.harvest('bytea', '\x', '\x00', '\xdeadbeef', '\x5c78', '\xff00ff');
PERFORM pg_temp.harvest('json', '{"a": 1}', '[]', 'null', '{"a":  "ü"}');
PERFORM pg_temp.harvest('jsonb', '{"b": 1, "a": [1, null]}', '"x"', '1.50');
PERFORM pg_temp.harvest('xml', '<a/>', '<?xml version="1.0" encoding="UTF-8"?><a>ü</a>', 'text');
PERFORM pg_temp.harvest('uuid', '00000000-0000-0000-0000-000000000000', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
	'ffffffff-ffff-ffff-ffff-ffffffffffff');
PERFORM pg_temp.harvest('pg_temp.mood', 'sad', 'ok', 'it''s "fine"');
PERFORM pg_temp.harvest('money', '0', '1', '-1', '0.01', '-0.05', '1234.56', '-1234567.89', '92233720368547758.07',
	'-92233720368547758.08');
END $$;
DO $$ BEGIN
PERFORM pg_temp.harvest('numeric', '0', '0.0', '0.00', '1', '-1', '10', '100', '9999', '10000', '10001', '99999999', '100000000',
	'0.1', '0.01', '0.0001', '0.00001', '0.00010', '1.50', '1.500', '-0.5', '12345678.12345678', '1.0', '1000000000000',
	'1e20', '1e37', '1e38', '1e39', '99999999999999999999999999999999999999', '100000000000000000000000000000000000000',
	'-99999999999999999999999999999999999999.9', '170141183460469231731687303715884105727',
	'170141183460469231731687303715884105728', '-170141183460469231731687303715884105728',
	'-170141183460469231731687303715884105729', '340282366920938463463374607431768211455',
	'340282366920938463463374607431768211456', '0.12345678901234567890123456789012345678901234567890',
	'-123456789012345678901234567890.123456789012345678901234567890', '1e-100', '1e-37', '1e-38', '1e-39', '1e100', '-1e100',
	repeat('9', 200), '-' || repeat('9', 200) || '.' || repeat('0', 50), '0.' || repeat('0', 60), repeat('9', 1000), '1e3000',
	'-32768', '-32769', '127', '128', '-128', '-129', '255', '256', '65535', '9223372036854775807', '9223372036854775808',
	'-9223372036854775808', '-9223372036854775809', '18446744073709551615', '18446744073709551616',
	'1234.5678', '123.45678', '1.2345678', '12.0000', '12.00001', 'NaN', 'Infinity', '-Infinity');
PERFORM pg_temp.harvest('numeric(10,2)', '0', '1', '-1', '0.5', '12345678.90', '99999999.99', '-99999999.99', '0.01', '-0.01', '100',
	'10000', 'NaN');
PERFORM pg_temp.harvest('numeric(5,0)', '0', '99999', '-99999', '10000');
PERFORM pg_temp.harvest('numeric(38,10)', '0', '9999999999999999999999999999.9999999999', '-1e27', '1e-10');
PERFORM pg_temp.harvest('numeric(39,1)', '99999999999999999999999999999999999999.9', '-99999999999999999999999999999999999999.9');
PERFORM pg_temp.harvest('numeric(60,30)', '123456789012345678901234567890.123456789012345678901234567890', '-1e-30', '0');
PERFORM pg_temp.harvest('numeric(1000,0)', repeat('9', 1000), '0');
PERFORM pg_temp.harvest('numeric(2,-3)', '12345', '-99000', '0');
PERFORM pg_temp.harvest('numeric(3,5)', '0.00999', '-0.00001', '0');
PERFORM pg_temp.harvest('numeric', VARIADIC array(SELECT (round((random() - 0.5)::numeric * 10::numeric ^ (random() * 60 - 20)::int, (random() * 30)::int))::text
	FROM generate_series(1, 120)));
PERFORM pg_temp.harvest('numeric(20,6)', VARIADIC array(SELECT ((random() - 0.5)::numeric * 10::numeric ^ (random() * 13)::int)::text
	FROM generate_series(1, 40)));
END $$;
DO $$ BEGIN
PERFORM pg_temp.harvest('date', '2000-01-01', '1970-01-01', '1969-12-31', '2024-02-29', '1900-02-28', '0001-01-01', '0001-12-31 BC',
	'0044-03-15 BC', '4713-01-01 BC', '4714-11-24 BC', '9999-12-31', '10000-01-01', '5874897-12-31', 'infinity', '-infinity');
PERFORM pg_temp.harvest('time without time zone', '00:00', '23:59:59.999999', '24:00:00', '12:34:56.7', '00:00:00.000001');
PERFORM pg_temp.harvest('time(0) without time zone', '00:00', '23:59:59', '24:00:00');
PERFORM pg_temp.harvest('time(3) without time zone', '00:00', '23:59:59.999', '24:00:00', '01:02:03.04');
PERFORM pg_temp.harvest('time(4) without time zone', '00:00', '23:59:59.9999');
PERFORM pg_temp.harvest('time with time zone', '00:00+00', '23:59:59.999999+00', '24:00:00+00', '24:00:00+02', '12:00:00+02',
	'12:00:00-08', '01:00:00+05:30', '01:00:00-00:00:01', '01:00:00+15:59:59', '23:00:00-15:59:59', '22:00-02');
PERFORM pg_temp.harvest('timestamp without time zone', '2000-01-01', '1970-01-01', '1969-12-31 23:59:59.999999', '2026-01-02 03:04:05.678901',
	'0001-01-01', '0001-12-31 23:59:59.5 BC', '4714-11-24 00:00:00 BC', '4713-01-01 BC', '9999-12-31 23:59:59.999999',
	'10000-01-01', '294246-12-31 23:59:59.999999', '294247-01-10 04:00:54.775807', '294247-01-10 04:00:54.775808',
	'294247-01-10 04:00:25.2', '294247-01-10 04:00:25.200001', '294276-12-31 23:59:59.999999', 'infinity', '-infinity',
	'2024-02-29 12:00', '1999-12-31 23:59:59.999999');
PERFORM pg_temp.harvest('timestamp(0) without time zone', '2026-01-02 03:04:05', '1969-12-31 23:59:59', 'infinity');
PERFORM pg_temp.harvest('timestamp(3) without time zone', '2026-01-02 03:04:05.678', '1969-12-31 23:59:59.999', '294276-12-31 23:59:59.999',
	'294247-01-10 04:00:25.2', '4714-11-24 00:00:00 BC', 'infinity', '-infinity');
PERFORM pg_temp.harvest('timestamp(4) without time zone', '2026-01-02 03:04:05.6789');
PERFORM pg_temp.harvest('timestamp with time zone', '2000-01-01', '1970-01-01', '1969-12-31 23:59:59.999999', '2026-01-02 03:04:05.678901',
	'2026-01-02 03:04:05.1', '0001-01-01', '0001-12-31 23:59:59.5 BC', '0002-12-31 BC', '4714-11-24 00:00:00 BC',
	'9999-12-31 23:59:59.999999', '10000-01-01', '294276-12-31 23:59:59.999999', 'infinity', '-infinity', '2024-02-29 12:00');
PERFORM pg_temp.harvest('timestamp(0) with time zone', '2026-01-02 03:04:05');
PERFORM pg_temp.harvest('timestamp(3) with time zone', '2026-01-02 03:04:05.6', '2026-01-02 03:04:05', '0044-03-15 BC');
PERFORM pg_temp.harvest('interval', '0', '1 year', '-1 year', '1 mon', '13 mons', '-13 mons', '1 day', '-1 day', '1 day -1 hour',
	'-1 day 1 hour', '1 year -2 mons 3 days -04:05:06.789', '-1 year 2 days 00:00:01', '00:00:00.000001', '-00:00:00.000001',
	'100:00:00', '178000000 years', '-178000000 years', '2147483647 days', '2562047788:00:54.775807', '-2562047788:00:54.775807',
	'1.5 hours', '-23:59:59.999999', '2 mons 1 day', '1 mon -1 day', '-1 mon -1 day +00:00:01');
PERFORM pg_temp.harvest('bit(1)', B'0'::text, B'1'::text);
PERFORM pg_temp.harvest('bit(5)', '00000', '10101', '00001', '10000', '11111');
PERFORM pg_temp.harvest('bit(16)', '0000000000000000', '1000000000000001', '0000000100000000', '0000000000000001');
PERFORM pg_temp.harvest('bit varying(1)', '', '0', '1');
PERFORM pg_temp.harvest('bit varying(10)', '', '0', '1', '0101', '1010101010', '0000000000');
PERFORM pg_temp.harvest('bit varying', '', '0', '00', '1', '01', '10', '1' || repeat('0', 70), repeat('0', 70) || '1');
END $$;
COPY (SELECT type, typid, typmod, text, bin FROM golden ORDER BY n) TO STDOUT;
