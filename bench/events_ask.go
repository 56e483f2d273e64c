package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the other store of the comparison

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
)

// eventQuery is a query in the words of both stores.
type eventQuery struct {
	name string
	text string      // of the console
	by   query.Field // count by it; query.None: the last hundred
	step time.Duration
	sql  string
	args []any
}

// eventQueries are those of the console.
func eventQueries(trace string) []*eventQuery {
	const last = " ORDER BY time DESC LIMIT 100"
	return []*eventQuery{
		{name: "last hundred of a service", text: "service:payments", sql: "SELECT record FROM events WHERE service = 'payments'" + last},
		{name: "all of a trace", text: "trace:" + trace, sql: "SELECT record FROM events WHERE trace = ?" + last, args: []any{trace}},
		{name: "last hundred by full text", text: `"user-777"`, sql: "SELECT record FROM events JOIN words ON words.rowid = events.rowid WHERE words MATCH ?" + last, args: []any{`"user-777"`}},
		{name: "a day counted by outcome", text: "service:orders", by: query.Outcome, sql: "SELECT outcome, count(*) FROM events WHERE service = 'orders' GROUP BY outcome"},
		{name: "a day's denials over time", text: "outcome:denied", step: 15 * time.Minute, sql: "SELECT time / 900000000000, count(*) FROM events WHERE outcome = 'denied' GROUP BY 1"},
	}
}

// palisadeEvents is the store of one control.
type palisadeEvents struct {
	*events.Store
	stop context.CancelFunc
	done chan error
}

func openPalisadeEvents(ctx context.Context, dir string) (eventStore, error) {
	s, _, err := events.Open(ctx, events.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	p := &palisadeEvents{s, stop, make(chan error, 1)}
	go func() {
		var failed error
		err := s.Run(ctx, func(err error) { failed = errors.Join(failed, err) })
		p.done <- errors.Join(err, failed)
	}()
	return p, nil
}

func (p *palisadeEvents) take(ctx context.Context, lines [][]byte) error {
	all, err := parseEvents(lines)
	if err != nil {
		return err
	}
	return p.Append(ctx, all)
}

func parseEvents(lines [][]byte) ([]*event.Event, error) {
	all := make([]*event.Event, len(lines))
	for i, line := range lines {
		var err error
		if all[i], err = event.Parse(line); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p *palisadeEvents) files(dir string) string { return filepath.Join(dir, "segments") }

func (p *palisadeEvents) seal(ctx context.Context) error { return p.Seal(ctx) }

func (p *palisadeEvents) merge(ctx context.Context) error {
	return p.Compact(ctx, eventsBegin.Add(2*eventsSpan))
}

func (p *palisadeEvents) ask(ctx context.Context, q *eventQuery) (int, error) {
	where, err := query.Parse(q.text)
	if err != nil {
		return 0, err
	}
	asked := query.Query{From: eventsBegin, To: eventsBegin.Add(eventsSpan), Where: where}
	switch {
	case q.by != query.None:
		counts, err := p.Count(ctx, asked, q.by, 10)
		if err != nil {
			return 0, err
		}
		return len(counts.Top), nil
	case q.step > 0:
		series, err := p.Histogram(ctx, asked, q.step, query.None, 0)
		if err != nil {
			return 0, err
		}
		return len(series.All), nil
	}
	page, err := p.Last(ctx, asked, 100, query.Cursor{})
	if err != nil {
		return 0, err
	}
	return len(page.Events), nil
}

func (p *palisadeEvents) close() error {
	p.stop()
	return errors.Join(<-p.done, p.Close())
}

// sqliteEvents is SQLite with its full text search, as one would use it for this.
type sqliteEvents struct{ db *sql.DB }

func openSQLiteEvents(ctx context.Context, dir string) (eventStore, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "events.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	for _, text := range []string{
		"CREATE TABLE events (time INTEGER, id TEXT, trace TEXT, service TEXT, outcome TEXT, status INTEGER, user TEXT, path TEXT, record TEXT)",
		"CREATE INDEX by_service ON events (service, time)", "CREATE INDEX by_trace ON events (trace)", "CREATE INDEX by_time ON events (time)",
		"CREATE VIRTUAL TABLE words USING fts5(text, content='')",
	} {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return &sqliteEvents{db}, nil
}

func (s *sqliteEvents) take(ctx context.Context, lines [][]byte) error {
	all, err := parseEvents(lines)
	if err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := insertEvents(ctx, tx, all, lines); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func insertEvents(ctx context.Context, tx *sql.Tx, all []*event.Event, lines [][]byte) error {
	row, err := tx.PrepareContext(ctx, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	words, err := tx.PrepareContext(ctx, "INSERT INTO words (rowid, text) VALUES (?, ?)")
	if err != nil {
		return err
	}
	for i, e := range all {
		got, err := row.ExecContext(ctx, e.Time.UnixNano(), e.ID, e.TraceID, query.TextOf(e, query.Service), query.OutcomeOf(e), e.Status, query.TextOf(e, query.User), e.Path, lines[i])
		if err != nil {
			return err
		}
		id, err := got.LastInsertId()
		if err != nil {
			return err
		}
		text := ""
		query.Texts(e, func(s string) bool {
			text += s + "\n"
			return true
		})
		if _, err = words.ExecContext(ctx, id, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteEvents) files(dir string) string     { return filepath.Join(dir, "events.db") }
func (s *sqliteEvents) seal(context.Context) error  { return nil }
func (s *sqliteEvents) merge(context.Context) error { return nil }

func (s *sqliteEvents) ask(ctx context.Context, q *eventQuery) (_ int, err error) {
	rows, err := s.db.QueryContext(ctx, q.sql, q.args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n := 0
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

func (s *sqliteEvents) close() error { return s.db.Close() }
