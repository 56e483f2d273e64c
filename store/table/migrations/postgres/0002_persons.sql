CREATE TABLE persons (
  number BIGINT NOT NULL PRIMARY KEY,
  finder BYTEA NOT NULL UNIQUE,
  pseudonym TEXT NOT NULL UNIQUE,
  sealed_key BYTEA NOT NULL,
  sealed_name BYTEA NOT NULL,
  since BIGINT NOT NULL
);
