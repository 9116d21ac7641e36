-- one key: insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note");
-- id say "hi" text flags text doc text note

-- one key: upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") ON CONFLICT ("id") DO UPDATE SET "say ""hi""" = excluded."say ""hi""", "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- one key: update
UPDATE public."Order" AS t SET "say ""hi""" = u."say ""hi"""::character varying, "flags" = u."flags"::"bit", "doc" = u."doc"::json, "note" = u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") WHERE t."id" = u."id";
-- old id say "hi" text flags text doc text note

-- one key: delete
DELETE FROM public."Order" AS t USING unnest($1::bigint[]) AS u("id") WHERE t."id" = u."id";
-- old id

-- one key: copy
COPY public."Order" ("id", "say ""hi""", "flags", "doc", "note") FROM STDIN (FORMAT text);
-- id text say "hi" text flags text doc text note text

-- one key: row insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") VALUES ($1, $2, $3, $4, $5);
-- id say "hi" text flags text doc text note

-- one key: row upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") VALUES ($1, $2, $3, $4, $5) ON CONFLICT ("id") DO UPDATE SET "say ""hi""" = excluded."say ""hi""", "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- one key: row update
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE "id" = $6;
-- id say "hi" text flags text doc text note old id

-- one key: row delete
DELETE FROM public."Order" WHERE "id" = $1;
-- old id

-- one key: row update match
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $6 AND "say ""hi""" IS NOT DISTINCT FROM $7 AND "flags" IS NOT DISTINCT FROM $8 AND "doc"::text IS NOT DISTINCT FROM $9::json::text AND "note" IS NOT DISTINCT FROM $10 LIMIT 1);
-- id say "hi" text flags text doc text note old id old say "hi" text old flags text old doc text old note

-- one key: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $1 AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id old say "hi" text old flags text old doc text old note

-- identity always: insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") OVERRIDING SYSTEM VALUE SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note");
-- id say "hi" text flags text doc text note

-- identity always: upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") OVERRIDING SYSTEM VALUE SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") ON CONFLICT ("id") DO UPDATE SET "say ""hi""" = excluded."say ""hi""", "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- identity always: update
UPDATE public."Order" AS t SET "say ""hi""" = u."say ""hi"""::character varying, "flags" = u."flags"::"bit", "doc" = u."doc"::json, "note" = u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") WHERE t."id" = u."id";
-- old id say "hi" text flags text doc text note

-- identity always: delete
DELETE FROM public."Order" AS t USING unnest($1::bigint[]) AS u("id") WHERE t."id" = u."id";
-- old id

-- identity always: copy
COPY public."Order" ("id", "say ""hi""", "flags", "doc", "note") FROM STDIN (FORMAT text);
-- id text say "hi" text flags text doc text note text

-- identity always: row insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5);
-- id say "hi" text flags text doc text note

-- identity always: row upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5) ON CONFLICT ("id") DO UPDATE SET "say ""hi""" = excluded."say ""hi""", "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- identity always: row update
UPDATE public."Order" SET "say ""hi""" = $1, "flags" = $2, "doc" = $3, "note" = $4 WHERE "id" = $5;
-- say "hi" text flags text doc text note old id

-- identity always: row delete
DELETE FROM public."Order" WHERE "id" = $1;
-- old id

-- identity always: row update match
UPDATE public."Order" SET "say ""hi""" = $1, "flags" = $2, "doc" = $3, "note" = $4 WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $5 AND "say ""hi""" IS NOT DISTINCT FROM $6 AND "flags" IS NOT DISTINCT FROM $7 AND "doc"::text IS NOT DISTINCT FROM $8::json::text AND "note" IS NOT DISTINCT FROM $9 LIMIT 1);
-- say "hi" text flags text doc text note old id old say "hi" text old flags text old doc text old note

-- identity always: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $1 AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id old say "hi" text old flags text old doc text old note

-- two keys, one as text: insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note");
-- id say "hi" text flags text doc text note

-- two keys, one as text: upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") SELECT u."id", u."say ""hi"""::character varying, u."flags"::"bit", u."doc"::json, u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") ON CONFLICT ("say ""hi""", "id") DO UPDATE SET "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- two keys, one as text: update
UPDATE public."Order" AS t SET "flags" = u."flags"::"bit", "doc" = u."doc"::json, "note" = u."note" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u("id", "say ""hi""", "flags", "doc", "note") WHERE t."say ""hi""" = u."say ""hi"""::character varying AND t."id" = u."id";
-- old id old say "hi" text flags text doc text note

-- two keys, one as text: delete
DELETE FROM public."Order" AS t USING unnest($1::bigint[], $2::text[]) AS u("id", "say ""hi""") WHERE t."say ""hi""" = u."say ""hi"""::character varying AND t."id" = u."id";
-- old id old say "hi" text

-- two keys, one as text: copy
COPY public."Order" ("id", "say ""hi""", "flags", "doc", "note") FROM STDIN (FORMAT text);
-- id text say "hi" text flags text doc text note text

-- two keys, one as text: row insert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") VALUES ($1, $2, $3, $4, $5);
-- id say "hi" text flags text doc text note

-- two keys, one as text: row upsert
INSERT INTO public."Order" ("id", "say ""hi""", "flags", "doc", "note") VALUES ($1, $2, $3, $4, $5) ON CONFLICT ("say ""hi""", "id") DO UPDATE SET "flags" = excluded."flags", "doc" = excluded."doc", "note" = excluded."note";
-- id say "hi" text flags text doc text note

-- two keys, one as text: row update
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE "say ""hi""" = $6 AND "id" = $7;
-- id say "hi" text flags text doc text note old say "hi" text old id

-- two keys, one as text: row delete
DELETE FROM public."Order" WHERE "say ""hi""" = $1 AND "id" = $2;
-- old say "hi" text old id

-- two keys, one as text: row update match
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $6 AND "say ""hi""" IS NOT DISTINCT FROM $7 AND "flags" IS NOT DISTINCT FROM $8 AND "doc"::text IS NOT DISTINCT FROM $9::json::text AND "note" IS NOT DISTINCT FROM $10 LIMIT 1);
-- id say "hi" text flags text doc text note old id old say "hi" text old flags text old doc text old note

-- two keys, one as text: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $1 AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id old say "hi" text old flags text old doc text old note

-- no key, partitioned: row update match
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $6 AND "say ""hi""" IS NOT DISTINCT FROM $7 AND "flags" IS NOT DISTINCT FROM $8 AND "doc"::text IS NOT DISTINCT FROM $9::json::text AND "note" IS NOT DISTINCT FROM $10 LIMIT 1);
-- id say "hi" text flags text doc text note old id old say "hi" text old flags text old doc text old note

-- no key, partitioned: row delete match
DELETE FROM public."Order" WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM public."Order" WHERE "id" IS NOT DISTINCT FROM $1 AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id old say "hi" text old flags text old doc text old note

-- nothing but the key: upsert
INSERT INTO public."Order" ("id") SELECT u."id" FROM unnest($1::bigint[]) AS u("id") ON CONFLICT ("id") DO NOTHING;
-- id

-- nothing but the key: row upsert
INSERT INTO public."Order" ("id") VALUES ($1) ON CONFLICT ("id") DO NOTHING;
-- id

-- no column to write: update
(nothing);
--

-- some columns: update
UPDATE public."Order" AS t SET "note" = u."note" FROM unnest($1::bigint[], $2::text[]) AS u("id", "note") WHERE t."id" = u."id";
-- old id note

-- rows counted: update
WITH hit AS (UPDATE public."Order" AS t SET "note" = u."note" FROM unnest($1::bigint[], $2::text[]) AS u("id", "note") WHERE t."id" = u."id" RETURNING 1) SELECT 1 / (count(*) >= cardinality($1))::int FROM hit;
-- old id note

-- as text after all: insert
INSERT INTO public."Order" ("id", "note") SELECT u."id"::bigint, u."note" FROM unnest($1::text[], $2::text[]) AS u("id", "note");
-- id text note text

-- as text after all: update
UPDATE public."Order" AS t SET "note" = u."note" FROM unnest($1::text[], $2::text[]) AS u("id", "note") WHERE t."id" = u."id"::bigint;
-- old id text note text

-- operators elsewhere: row update
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE "id" OPERATOR("app".=) $6::app.citext;
-- id text say "hi" text flags text doc text note old id text

-- operators elsewhere: row delete
DELETE FROM public."Order" WHERE "id" OPERATOR("app".=) $1::app.citext;
-- old id text

-- operators elsewhere: row update match
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE ctid = (SELECT ctid FROM public."Order" WHERE coalesce("id" OPERATOR("app".=) $6::app.citext, "id" IS NULL AND $6::app.citext IS NULL) AND "say ""hi""" IS NOT DISTINCT FROM $7 AND "flags" IS NOT DISTINCT FROM $8 AND "doc"::text IS NOT DISTINCT FROM $9::json::text AND "note" IS NOT DISTINCT FROM $10 LIMIT 1);
-- id text say "hi" text flags text doc text note old id text old say "hi" text old flags text old doc text old note

-- operators elsewhere: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE coalesce("id" OPERATOR("app".=) $1::app.citext, "id" IS NULL AND $1::app.citext IS NULL) AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id text old say "hi" text old flags text old doc text old note

-- operators elsewhere: delete
DELETE FROM public."Order" AS t USING unnest($1::text[]) AS u("id") WHERE t."id" OPERATOR("app".=) u."id"::app.citext;
-- old id text

-- a domain over an enum as key: row update
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE "id"::public.mood = $6;
-- id text say "hi" text flags text doc text note old id text

-- a domain over an enum as key: row delete
DELETE FROM public."Order" WHERE "id"::public.mood = $1;
-- old id text

-- a domain over an enum as key: row update match
UPDATE public."Order" SET "id" = $1, "say ""hi""" = $2, "flags" = $3, "doc" = $4, "note" = $5 WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id"::public.mood IS NOT DISTINCT FROM $6 AND "say ""hi""" IS NOT DISTINCT FROM $7 AND "flags" IS NOT DISTINCT FROM $8 AND "doc"::text IS NOT DISTINCT FROM $9::json::text AND "note" IS NOT DISTINCT FROM $10 LIMIT 1);
-- id text say "hi" text flags text doc text note old id text old say "hi" text old flags text old doc text old note

-- a domain over an enum as key: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id"::public.mood IS NOT DISTINCT FROM $1 AND "say ""hi""" IS NOT DISTINCT FROM $2 AND "flags" IS NOT DISTINCT FROM $3 AND "doc"::text IS NOT DISTINCT FROM $4::json::text AND "note" IS NOT DISTINCT FROM $5 LIMIT 1);
-- old id text old say "hi" text old flags text old doc text old note

-- a domain over an enum: row delete match
DELETE FROM public."Order" WHERE ctid = (SELECT ctid FROM public."Order" WHERE "id"::public.mood IS NOT DISTINCT FROM $1 LIMIT 1);
-- old id text

-- regclass: insert
INSERT INTO public."Order" ("id", "note") SELECT pg_catalog.regclassin(u."id"::cstring), u."note" FROM unnest($1::text[], $2::text[]) AS u("id", "note");
-- id text note text

-- regclass: delete
DELETE FROM public."Order" AS t USING unnest($1::text[]) AS u("id") WHERE t."id" = pg_catalog.regclassin(u."id"::cstring);
-- old id text

