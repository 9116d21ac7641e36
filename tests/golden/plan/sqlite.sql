-- one key: row insert
INSERT INTO "orders" ("id", "name", "note") VALUES (?1, ?2, ?3);
-- id text name text note text

-- one key: row upsert
INSERT INTO "orders" ("id", "name", "note") VALUES (?1, ?2, ?3) ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name", "note" = excluded."note";
-- id text name text note text

-- one key: row update
UPDATE "orders" SET "id" = ?1, "name" = ?2, "note" = ?3 WHERE "id" = ?4;
-- id text name text note text old id text

-- one key: row delete
DELETE FROM "orders" WHERE "id" = ?1;
-- old id text

-- one key: row update match
UPDATE "orders" SET "id" = ?1, "name" = ?2, "note" = ?3 WHERE rowid = (SELECT rowid FROM "orders" WHERE "id" IS ?4 AND "name" IS ?5 AND "note" IS ?6 LIMIT 1);
-- id text name text note text old id text old name text old note text

-- one key: row delete match
DELETE FROM "orders" WHERE rowid = (SELECT rowid FROM "orders" WHERE "id" IS ?1 AND "name" IS ?2 AND "note" IS ?3 LIMIT 1);
-- old id text old name text old note text

