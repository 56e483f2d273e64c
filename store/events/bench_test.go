package events_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the other store of the comparison

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
)

// benchSize raises the number of events.
const benchSize = "PALISADE_BENCH_EVENTS"

func benchEvents() int {
	if n, err := strconv.Atoi(os.Getenv(benchSize)); err == nil {
		return n
	}
	return 100_000
}

// span is the time over which the events of benchmarks spread.
const span = 24 * time.Hour

// BenchmarkStore takes a day's events in, durable in batches of 1,000, seals and merges them, and asks the queries of the console.
// Beside it SQLite with FTS5 takes and answers the same.
func BenchmarkStore(b *testing.B) {
	n := benchEvents()
	fleet := func() *eventtest.Fleet { return eventtest.New(1, start, span/time.Duration(n)) }
	b.Run("palisade", func(b *testing.B) {
		o := events.Options{Dir: b.TempDir()}
		s, _ := open(b, o)
		done := make(chan error, 1)
		go func() { done <- s.Run(b.Context(), func(err error) { b.Error(err) }) }()
		b.Cleanup(func() { must(b, <-done) })
		worked := processors(b)
		took := fill(b, fleet(), n, func(part []*event.Event) { must(b, s.Append(b.Context(), part)) })
		must(b, s.Seal(b.Context()))
		worked = processors(b) - worked
		must(b, s.Compact(b.Context(), start.Add(2*span)))
		b.Logf("%d events: append %.0f/s, made, appended and sealed at %.0f per second of a core; %.1f bytes/event in %d segments; heap %d MiB", n, float64(n)/took.Seconds(), float64(n)/worked.Seconds(), float64(bytesOf(b, o.Dir))/float64(n), len(files(b, o.Dir)), heap())
		for name, ask := range questions(b, s) {
			b.Run(name, func(b *testing.B) { measure(b, ask) })
		}
	})
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "events.db")
		db := openFTS(b, path)
		took := fill(b, fleet(), n, func(part []*event.Event) { insertFTS(b, db, part) })
		info, err := os.Stat(path)
		must(b, err)
		b.Logf("%d events: append %.0f/s; %.1f bytes/event", n, float64(n)/took.Seconds(), float64(info.Size())/float64(n))
		for name, text := range map[string]string{
			"last":     "SELECT record FROM events WHERE service = 'payments' ORDER BY time DESC LIMIT 100",
			"count":    "SELECT outcome, count(*) FROM events WHERE service = 'orders' GROUP BY outcome",
			"overtime": "SELECT time / 900000000000, count(*) FROM events WHERE outcome = 'denied' GROUP BY 1",
			"text":     "SELECT record FROM events JOIN words ON words.rowid = events.rowid WHERE words MATCH '\"user-777\"' ORDER BY time DESC LIMIT 100",
			"trace":    "SELECT record FROM events WHERE trace = 'none'",
		} {
			b.Run(name, func(b *testing.B) {
				measure(b, func() {
					rows, err := db.QueryContext(b.Context(), text)
					must(b, err)
					for rows.Next() {
						continue
					}
					must(b, rows.Err())
					must(b, rows.Close())
				})
			})
		}
	})
}

// fill hands out events in batches and returns how long taking them took, without making them.
func fill(b *testing.B, fleet *eventtest.Fleet, n int, take func([]*event.Event)) time.Duration {
	b.Helper()
	took := time.Duration(0)
	for left := n; left > 0; left -= 1000 {
		part := fleet.Take(min(left, 1000))
		began := time.Now()
		take(part)
		took += time.Since(began)
	}
	return took
}

// questions are the queries of the console.
func questions(b *testing.B, s *events.Store) map[string]func() {
	day := func(text string) query.Query {
		x, err := query.Parse(text)
		must(b, err)
		return query.Query{From: start, To: start.Add(span), Where: x}
	}
	last := func(text string) func() {
		return func() {
			_, err := s.Last(b.Context(), day(text), 100, query.Cursor{})
			must(b, err)
		}
	}
	return map[string]func(){
		"last": last("service:payments"), "text": last(`"user-777"`), "trace": last("trace:none"),
		"count": func() {
			_, err := s.Count(b.Context(), day("service:orders"), query.Outcome, 10)
			must(b, err)
		},
		"overtime": func() {
			_, err := s.Histogram(b.Context(), day("outcome:denied"), 15*time.Minute, query.None, 0)
			must(b, err)
		},
	}
}

// measure reports the median, the 95th percentile, and what the processors worked, which other work beside it changes less.
func measure(b *testing.B, ask func()) {
	b.Helper()
	var took []time.Duration
	worked := processors(b)
	for b.Loop() {
		began := time.Now()
		ask()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
	b.ReportMetric(float64((processors(b)-worked).Microseconds())/1000/float64(len(took)), "cpu-ms")
}

// processors is how long they have worked for this process.
func processors(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func bytesOf(b *testing.B, dir string) int64 {
	b.Helper()
	total := int64(0)
	for _, name := range files(b, dir) {
		info, err := os.Stat(name)
		must(b, err)
		total += info.Size()
	}
	return total
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 20
}

func openFTS(b *testing.B, path string) *sql.DB {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(b, err)
	b.Cleanup(func() { must(b, db.Close()) })
	for _, text := range []string{
		"CREATE TABLE events (time INTEGER, id TEXT, trace TEXT, service TEXT, outcome TEXT, status INTEGER, user TEXT, path TEXT, record TEXT)",
		"CREATE INDEX by_service ON events (service, time)", "CREATE INDEX by_trace ON events (trace)", "CREATE INDEX by_time ON events (time)",
		"CREATE VIRTUAL TABLE words USING fts5(text, content='')",
	} {
		_, err := db.ExecContext(b.Context(), text)
		must(b, err)
	}
	return db
}

func insertFTS(b *testing.B, db *sql.DB, part []*event.Event) {
	b.Helper()
	tx, err := db.BeginTx(b.Context(), nil)
	must(b, err)
	row, err := tx.PrepareContext(b.Context(), "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
	must(b, err)
	words, err := tx.PrepareContext(b.Context(), "INSERT INTO words (rowid, text) VALUES (?, ?)")
	must(b, err)
	for _, e := range part {
		got, err := row.ExecContext(b.Context(), e.Time.UnixNano(), e.ID, e.TraceID, query.TextOf(e, query.Service), query.OutcomeOf(e), e.Status, query.TextOf(e, query.User), e.Path, event.AppendJSON(nil, e))
		must(b, err)
		id, err := got.LastInsertId()
		must(b, err)
		text := ""
		query.Texts(e, func(s string) bool {
			text += s + "\n"
			return true
		})
		_, err = words.ExecContext(b.Context(), id, text)
		must(b, err)
	}
	must(b, tx.Commit())
}
