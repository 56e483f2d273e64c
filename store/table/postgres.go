package table

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const postgresConnections = 16

// openPostgres connects lazily, so the first statement finds out whether somebody is there.
func openPostgres(ctx context.Context, location string) (*Store, error) {
	config, err := pgx.ParseConfig(location)
	if err != nil {
		return nil, errors.New("the location is neither sqlite: nor a postgres URL that can be read") // it may hold a password
	}
	if err := provesItself(config); err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, map[string]string{
		"application_name": "palisade", "synchronous_commit": "on", "timezone": "UTC",
		"lock_timeout": "10s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "30s",
	})
	config.ConnectTimeout = 5 * time.Second
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections / 2)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := &Store{db: db, readers: db, dialect: dialect{
		name: "postgres", write: sql.TxOptions{Isolation: sql.LevelSerializable},
		now:  "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
		keep: "SELECT holder, epoch, until FROM leases WHERE name = $1 FOR SHARE",
		lock: "SELECT pg_advisory_lock(5037570437)", unlock: "SELECT pg_advisory_unlock(5037570437)",
		again: postgresAgain, lost: postgresLost, exact: postgresExact,
	}}
	if err := s.checkPostgres(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// provesItself refuses connections to another host that do not verify its certificate and name, also as second
// choice (sslmode=prefer).
func provesItself(config *pgx.ConnConfig) error {
	check := func(host string, t *tls.Config) error {
		if strings.HasPrefix(host, "/") || host == "localhost" {
			return nil
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			return nil
		}
		if t == nil || t.InsecureSkipVerify {
			return fmt.Errorf("PostgreSQL on %q must be asked for its certificate: add sslmode=verify-full", host)
		}
		return nil
	}
	err := check(config.Host, config.TLSConfig)
	for _, f := range config.Fallbacks {
		err = errors.Join(err, check(f.Host, f.TLSConfig))
	}
	return err
}

// checkPostgres refuses a server that may lose what it committed.
func (s *Store) checkPostgres(ctx context.Context) error {
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var value string
		err := s.Read(ctx, func(t *Tx) error { return t.one(ctx, "SELECT current_setting($1)", []any{name}, &value) })
		if err != nil {
			return err
		}
		if value != "on" {
			return fmt.Errorf("PostgreSQL runs with %s = %s and may lose what it committed; set it to on", name, value)
		}
	}
	return nil
}

// Codes of PostgreSQL, appendix A.
const (
	pgUnique        = "23505"
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgLockTimeout   = "55P03"
)

func postgresAgain(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == pgSerialization || e.Code == pgDeadlock || e.Code == pgLockTimeout)
}

// postgresLost tells of connections that broke or were never made. A transaction whose commit was not sent has done
// nothing.
func postgresLost(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok { // 08: connection, 57P: shut down, started up or crashed, 53300: too many clients
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P") || e.Code == "53300"
	}
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &dial) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

func postgresExact(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == pgUnique {
		return ErrConflict
	}
	return err
}

// Postgres opens a PostgreSQL for a room that keeps tables of its own in it, under the same terms: it proves what it is, and
// does not lose what it committed.
func Postgres(ctx context.Context, location string) (*sql.DB, error) {
	s, err := openPostgres(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("opening PostgreSQL: %w", err)
	}
	return s.db, nil
}
