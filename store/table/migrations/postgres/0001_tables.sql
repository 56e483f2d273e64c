CREATE TABLE enrolments (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  node TEXT NOT NULL,
  attested TEXT NOT NULL,
  since BIGINT NOT NULL
);
CREATE INDEX enrolments_node ON enrolments (node);

CREATE TABLE join_tokens (
  hash BYTEA NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX join_tokens_expires ON join_tokens (expires);

CREATE TABLE models (
  version TEXT NOT NULL PRIMARY KEY,
  document BYTEA NOT NULL,
  added BIGINT NOT NULL,
  author TEXT NOT NULL
);

CREATE TABLE enforcements (
  number BIGINT NOT NULL PRIMARY KEY,
  version TEXT NOT NULL REFERENCES models (version),
  since BIGINT NOT NULL,
  author TEXT NOT NULL,
  note TEXT NOT NULL
);

CREATE TABLE proxies (
  id TEXT NOT NULL,
  instance TEXT NOT NULL,
  version TEXT NOT NULL,
  accepted BIGINT NOT NULL,
  reason TEXT NOT NULL,
  expires BIGINT NOT NULL,
  reported BIGINT NOT NULL,
  detail BYTEA NOT NULL,
  PRIMARY KEY (id, instance)
);

CREATE TABLE revocations (
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  since BIGINT NOT NULL,
  refused_before BIGINT NOT NULL,
  reason TEXT NOT NULL,
  author TEXT NOT NULL,
  PRIMARY KEY (kind, value)
);

CREATE TABLE counters (
  name TEXT NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
);

CREATE TABLE blobs (
  name TEXT NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL,
  data BYTEA NOT NULL
);

CREATE TABLE acts (
  number BIGINT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  who TEXT NOT NULL,
  role TEXT NOT NULL,
  verb TEXT NOT NULL,
  object TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail BYTEA NOT NULL
);

CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  until BIGINT NOT NULL
);
