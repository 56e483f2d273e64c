package table_test

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/table"
)

var day = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)

// write runs one transaction that must succeed.
func write(t testing.TB, s *table.Store, do func(*table.Tx) error) {
	t.Helper()
	must(t, s.Write(soon(t), do))
}

func read(t testing.TB, s *table.Store, do func(*table.Tx) error) {
	t.Helper()
	must(t, s.Read(soon(t), do))
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestTables(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		second := another(t)
		edge := table.Enrolment{ID: "spiffe://x/edge/a", Kind: "edge", Node: "n1", Attested: "join", Since: day}
		side := table.Enrolment{ID: "spiffe://x/service/b", Kind: "sidecar", Node: "n2", Attested: "unix", Since: day}
		write(t, s, func(tx *table.Tx) error { return errors.Join(tx.Enrol(ctx, side), tx.Enrol(ctx, edge)) })
		edge.Node = "n2"
		write(t, s, func(tx *table.Tx) error { return tx.Enrol(ctx, edge) })
		read(t, second, func(tx *table.Tx) error {
			got, err := tx.Enrolments(ctx)
			same(t, got, []table.Enrolment{edge, side})
			on, onErr := tx.EnrolmentsOn(ctx, "n1")
			same(t, len(on), 0)
			return errors.Join(err, onErr)
		})
		write(t, s, func(tx *table.Tx) error { return tx.Unenrol(ctx, side.ID) })
		if err := s.Write(ctx, func(tx *table.Tx) error { return tx.Unenrol(ctx, side.ID) }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("removing what is not there: %v", err)
		}

		report := table.Report{ID: edge.ID, Instance: "1", Version: "v2", Accepted: true, Expires: day, Reported: day, Detail: []byte("{}")}
		old := report
		old.Version, old.Reported = "v1", day.Add(-time.Second)
		write(t, s, func(tx *table.Tx) error { return errors.Join(tx.PutReport(ctx, report), tx.PutReport(ctx, old)) })
		read(t, second, func(tx *table.Tx) error {
			got, err := tx.Reports(ctx)
			same(t, got, []table.Report{report})
			return err
		})
		write(t, s, func(tx *table.Tx) error {
			second := report
			second.Instance = "2"
			return errors.Join(tx.PutReport(ctx, second), tx.ForgetReport(ctx, report.ID, "2"), tx.ForgetReport(ctx, report.ID, "none"))
		})
		read(t, s, func(tx *table.Tx) error {
			got, err := tx.Reports(ctx)
			same(t, got, []table.Report{report})
			return err
		})
		write(t, s, func(tx *table.Tx) error {
			n, err := tx.ForgetReports(ctx, day.Add(time.Second))
			same(t, n, int64(1))
			return err
		})

		act := table.Act{At: day, Who: "ann", Role: "admin", Verb: "apply", Object: "model", Outcome: "done", Detail: []byte("{}")}
		write(t, s, func(tx *table.Tx) error { _, err := tx.AddAct(ctx, act); return err })
		write(t, second, func(tx *table.Tx) error { _, err := tx.AddAct(ctx, act); return err })
		read(t, s, func(tx *table.Tx) error {
			got, err := tx.Acts(ctx, 1, 10)
			act.Number = 2
			same(t, got, []table.Act{act})
			return err
		})
	})
}

func TestModels(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		one := table.Model{Version: "v1", Document: []byte("fleet: a"), Added: day, Author: "ann"}
		if err := s.Read(ctx, func(tx *table.Tx) error { _, err := tx.InForce(ctx); return err }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("nothing in force: %v", err)
		}
		add := func(m table.Model) error {
			return s.Write(ctx, func(tx *table.Tx) error { return tx.AddModel(ctx, m) })
		}
		must(t, add(one))
		must(t, add(one))
		if err := add(table.Model{Version: "v1", Document: []byte("other")}); !errors.Is(err, table.ErrConflict) {
			t.Errorf("another document of the same version: %v", err)
		}
		must(t, add(table.Model{Version: "v2", Document: []byte("fleet: b"), Added: day}))
		enforce := func(version string, number int64) error {
			return another(t).Write(ctx, func(tx *table.Tx) error {
				_, err := tx.Enforce(ctx, table.Enforcement{Version: version, Since: day, Author: "ann"}, number)
				return err
			})
		}
		must(t, enforce("v1", 0))
		must(t, enforce("v2", 1))
		if err := enforce("v1", 1); !errors.Is(err, table.ErrConflict) {
			t.Errorf("enforcing after what is past: %v", err)
		}
		if err := enforce("v9", 2); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("enforcing no model: %v", err)
		}
		must(t, enforce("v1", 2)) // back
		read(t, s, func(tx *table.Tx) error {
			now, err := tx.InForce(ctx)
			same(t, now, table.Enforcement{Number: 3, Version: "v1", Since: day, Author: "ann"})
			older, olderErr := tx.Enforcements(ctx, 3, 10)
			same(t, []int64{older[0].Number, older[1].Number}, []int64{2, 1})
			m, modelErr := tx.Model(ctx, "v1")
			same(t, m, one)
			return errors.Join(err, olderErr, modelErr)
		})
	})
}

func TestRevocations(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		r := table.Revocation{Kind: "service", Value: "spiffe://x/service/a", Since: day, Reason: "stolen", Author: "ann"}
		numbers := []int64{}
		for range 2 {
			write(t, s, func(tx *table.Tx) error {
				n, err := tx.Revoke(ctx, r)
				numbers = append(numbers, n)
				return err
			})
			r.Before = day
		}
		read(t, another(t), func(tx *table.Tx) error {
			n, list, err := tx.Revocations(ctx)
			same(t, n, int64(2))
			same(t, list, []table.Revocation{r})
			return err
		})
		write(t, s, func(tx *table.Tx) error {
			n, err := tx.DropRevocation(ctx, r.Kind, r.Value)
			numbers = append(numbers, n)
			return err
		})
		same(t, numbers, []int64{1, 2, 3})
		if err := s.Write(ctx, func(tx *table.Tx) error { _, err := tx.DropRevocation(ctx, r.Kind, r.Value); return err }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("dropping nothing: %v", err)
		}
	})
}

// TestJoinTokens lets many take one token: one gets it.
func TestJoinTokens(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		want := table.JoinToken{Hash: sha256.Sum256([]byte("x")), Name: "n1", Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)}
		old := table.JoinToken{Hash: sha256.Sum256([]byte("old")), Name: "n2", Expires: time.Now().Add(-time.Hour)}
		write(t, s, func(tx *table.Tx) error { return errors.Join(tx.AddJoinToken(ctx, old), tx.AddJoinToken(ctx, want)) })
		if err := s.Write(ctx, func(tx *table.Tx) error { return tx.AddJoinToken(ctx, want) }); !errors.Is(err, table.ErrConflict) {
			t.Errorf("adding it twice: %v", err)
		}
		var taken atomic.Int32
		var group sync.WaitGroup
		for _, store := range []*table.Store{s, another(t)} {
			for range 8 {
				group.Go(func() {
					var got table.JoinToken
					err := store.Write(ctx, func(tx *table.Tx) (err error) { got, err = tx.TakeJoinToken(ctx, want.Hash); return err })
					switch {
					case err == nil:
						taken.Add(1)
						same(t, got, want)
					case !errors.Is(err, table.ErrNotFound):
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		same(t, taken.Load(), int32(1))
		if err := s.Write(ctx, func(tx *table.Tx) error { _, err := tx.TakeJoinToken(ctx, old.Hash); return err }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("an expired token is still there: %v", err)
		}
	})
}

// TestCompareAndSwap lets two stores count in one blob, and add an act for each; nothing is counted twice or lost.
func TestCompareAndSwap(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		const writers, times = 4, 10
		write(t, s, func(tx *table.Tx) error { return tx.SaveBlob(ctx, "n", []byte("0"), 0) })
		for name, revision := range map[string]int64{"n": 0, "none": 1} {
			if err := s.Write(ctx, func(tx *table.Tx) error { return tx.SaveBlob(ctx, name, nil, revision) }); !errors.Is(err, table.ErrConflict) {
				t.Errorf("saving %q of revision %d: %v", name, revision, err)
			}
		}
		var group sync.WaitGroup
		for _, store := range []*table.Store{s, another(t)} {
			for range writers {
				group.Go(func() {
					for done := 0; done < times; {
						var data []byte
						var revision int64
						if err := store.Read(ctx, func(tx *table.Tx) (err error) { data, revision, err = tx.Blob(ctx, "n"); return err }); err != nil {
							t.Error(err)
							return
						}
						var n int
						_, _ = fmt.Sscan(string(data), &n)
						err := store.Write(ctx, func(tx *table.Tx) error {
							if _, err := tx.AddAct(ctx, table.Act{Who: "w", At: day}); err != nil {
								return err
							}
							return tx.SaveBlob(ctx, "n", fmt.Append(nil, n+1), revision)
						})
						switch {
						case err == nil:
							done++
						case !errors.Is(err, table.ErrConflict):
							t.Error(err)
							return
						}
					}
				})
			}
		}
		group.Wait()
		read(t, s, func(tx *table.Tx) error {
			data, revision, err := tx.Blob(ctx, "n")
			same(t, string(data), fmt.Sprint(2*writers*times))
			same(t, revision, int64(2*writers*times+1))
			acts, actsErr := tx.Acts(ctx, 0, 1000)
			same(t, len(acts), 2*writers*times) // those of conflicts are undone with them
			for i, a := range acts {
				if a.Number != int64(i+1) {
					t.Fatalf("act %d has number %d", i, a.Number)
				}
			}
			return errors.Join(err, actsErr)
		})
	})
}

// TestSerializable is write skew: two transactions that each read what the other writes. As one after another, only
// one of them can see nobody on call.
func TestSerializable(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		for round := range 10 {
			var group sync.WaitGroup
			var met atomic.Int32
			for i, store := range []*table.Store{s, another(t)} {
				mine, other := fmt.Sprint(round, "/", i), fmt.Sprint(round, "/", 1-i)
				group.Go(func() {
					err := store.Write(ctx, func(tx *table.Tx) error {
						_, _, err := tx.Blob(ctx, other)
						if err == nil {
							return nil
						}
						if !errors.Is(err, table.ErrNotFound) {
							return err
						}
						return tx.SaveBlob(ctx, mine, []byte("alone"), 0)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			for i := range 2 {
				read(t, s, func(tx *table.Tx) error {
					if _, _, err := tx.Blob(ctx, fmt.Sprint(round, "/", i)); err == nil {
						met.Add(1)
					}
					return nil
				})
			}
			same(t, met.Load(), int32(1))
		}
	})
}

func TestLease(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		take := func(holder string, ttl time.Duration) (l table.Lease, err error) {
			err = s.Write(ctx, func(tx *table.Tx) error { l, err = tx.TakeLease(ctx, "leader", holder, ttl); return err })
			return l, err
		}
		nothing := func(*table.Tx) error { return nil }
		a, err := take("a", time.Minute)
		must(t, err)
		again, err := take("a", time.Minute)
		must(t, err)
		if a.Epoch < 1 || again.Epoch != a.Epoch || again.Until.Before(a.Until) {
			t.Errorf("renewed %+v to %+v", a, again)
		}
		if _, err := take("b", time.Minute); !errors.Is(err, table.ErrConflict) {
			t.Errorf("taking another's lease: %v", err)
		}
		must(t, another(t).WriteAs(ctx, a, nothing))
		write(t, s, func(tx *table.Tx) error { return tx.ReleaseLease(ctx, a) })
		if err := s.WriteAs(ctx, a, nothing); !errors.Is(err, table.ErrLeaseLost) {
			t.Errorf("writing under a released lease: %v", err)
		}
		b, err := take("b", time.Minute)
		must(t, err)
		write(t, s, func(tx *table.Tx) error { return tx.ReleaseLease(ctx, a) }) // no longer a's
		must(t, s.WriteAs(ctx, b, nothing))
		lost := s.WriteAs(ctx, a, func(tx *table.Tx) error { return tx.SaveBlob(ctx, "x", nil, 0) })
		if !errors.Is(lost, table.ErrLeaseLost) {
			t.Errorf("writing under another's lease: %v", lost)
		}
		if err := s.Read(ctx, func(tx *table.Tx) error { _, _, err := tx.Blob(ctx, "x"); return err }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("it was written: %v", err)
		}
		write(t, s, func(tx *table.Tx) error { return tx.ReleaseLease(ctx, b) })
		short, err := take("b", 0) // over at once, however coarse the clock of the tables is
		must(t, err)
		late, err := take("b", time.Minute)
		must(t, err)
		if late.Epoch <= short.Epoch {
			t.Error("who comes back too late keeps the epoch")
		}
	})
}

// TestRollback: what a transaction did before it failed is not there.
func TestRollback(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, _ func(testing.TB) *table.Store) {
		ctx := soon(t)
		no := errors.New("no")
		err := s.Write(ctx, func(tx *table.Tx) error { return errors.Join(tx.SaveBlob(ctx, "a", nil, 0), no) })
		if !errors.Is(err, no) {
			t.Fatal(err)
		}
		if err := s.Read(ctx, func(tx *table.Tx) error { _, _, err := tx.Blob(ctx, "a"); return err }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("it is there: %v", err)
		}
		if err := s.Read(ctx, func(tx *table.Tx) error { return tx.SaveBlob(ctx, "a", nil, 0) }); err == nil {
			t.Error("a reading transaction wrote")
		}
	})
}

// TestOpenTogether: several controls that start at once make the tables once.
func TestOpenTogether(t *testing.T) {
	for name, location := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "tables.db") },
		"postgres": func(t *testing.T) string { return postgres.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at := location(t)
			var group sync.WaitGroup
			for range 6 {
				group.Go(func() {
					s, err := table.Open(soon(t), at)
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		})
	}
}

func TestOpenNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	must(t, open(t, "sqlite:"+path).Close())
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE schema_version SET version = 99")
	must(t, errors.Join(err, db.Close()))
	if _, err := table.Open(t.Context(), "sqlite:"+path); !errors.Is(err, table.ErrNewer) {
		t.Errorf("tables of a later version: %v", err)
	}
}

// TestHostileValues: what is written is data, whatever it looks like.
func TestHostileValues(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, _ func(testing.TB) *table.Store) {
		ctx := soon(t)
		for _, name := range []string{"'; DROP TABLE blobs; --", `"`, "$1", "?", "a\nb", "ä€😀", strings.Repeat("x", 1000)} {
			write(t, s, func(tx *table.Tx) error { return tx.SaveBlob(ctx, name, []byte{0, 255, '\''}, 0) })
			read(t, s, func(tx *table.Tx) error {
				data, _, err := tx.Blob(ctx, name)
				same(t, data, []byte{0, 255, '\''})
				return err
			})
		}
	})
}
