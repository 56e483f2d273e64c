CREATE TABLE enrolments (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  node TEXT NOT NULL,
  attested TEXT NOT NULL,
  since INTEGER NOT NULL
) STRICT;
CREATE INDEX enrolments_node ON enrolments (node);

CREATE TABLE join_tokens (
  hash BLOB NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  expires INTEGER NOT NULL
) STRICT;
CREATE INDEX join_tokens_expires ON join_tokens (expires);

CREATE TABLE models (
  version TEXT NOT NULL PRIMARY KEY,
  document BLOB NOT NULL,
  added INTEGER NOT NULL,
  author TEXT NOT NULL
) STRICT;

CREATE TABLE enforcements (
  number INTEGER NOT NULL PRIMARY KEY,
  version TEXT NOT NULL REFERENCES models (version),
  since INTEGER NOT NULL,
  author TEXT NOT NULL,
  note TEXT NOT NULL
) STRICT;

CREATE TABLE proxies (
  id TEXT NOT NULL,
  instance TEXT NOT NULL,
  version TEXT NOT NULL,
  accepted INTEGER NOT NULL,
  reason TEXT NOT NULL,
  expires INTEGER NOT NULL,
  reported INTEGER NOT NULL,
  detail BLOB NOT NULL,
  PRIMARY KEY (id, instance)
) STRICT;

CREATE TABLE revocations (
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  since INTEGER NOT NULL,
  refused_before INTEGER NOT NULL,
  reason TEXT NOT NULL,
  author TEXT NOT NULL,
  PRIMARY KEY (kind, value)
) STRICT;

CREATE TABLE counters (
  name TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;

CREATE TABLE blobs (
  name TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  data BLOB NOT NULL
) STRICT;

CREATE TABLE acts (
  number INTEGER NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  role TEXT NOT NULL,
  verb TEXT NOT NULL,
  object TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail BLOB NOT NULL
) STRICT;

CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT;
