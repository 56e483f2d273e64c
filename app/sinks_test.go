package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
)

// quiet is a record in which nothing happens.
type quiet struct{}

func (quiet) Head() uint64 { return 1 }

func (quiet) Next(ctx context.Context, _ uint64, _ sink.Bound) (sink.Batch, error) {
	<-ctx.Done()
	return sink.Batch{}, context.Cause(ctx)
}

// TestExportLed: a control exports while it leads, as the model in force says, and goes on with a model that cannot be.
func TestExportLed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSinks(dir, func(query.Query) sink.Source { return quiet{} })
		export := func(name, url, secret string) model.ResolvedExport {
			e := model.ResolvedExport{Name: name, Export: model.Export{Kind: "loki", URL: url}}
			e.Token.FromEnv = secret
			return e
		}
		var inForce atomic.Pointer[model.Snapshot]
		var leads atomic.Bool
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- exportLed(ctx, s, func() (*model.Snapshot, bool) { return inForce.Load(), leads.Load() })
		}()
		for _, step := range []struct {
			what  string
			snap  *model.Snapshot
			leads bool
			want  int
		}{
			{"without a model", nil, true, 0},
			{"another leads", &model.Snapshot{Version: "111111111111", Export: []model.ResolvedExport{export("a", "http://127.0.0.1:1", "")}}, false, 0},
			{"it leads", &model.Snapshot{Version: "111111111111", Export: []model.ResolvedExport{export("a", "http://127.0.0.1:1", "")}}, true, 1},
			{"one more", &model.Snapshot{Version: "222222222222", Export: []model.ResolvedExport{export("a", "http://127.0.0.1:1", ""), export("b", "http://127.0.0.1:1", "")}}, true, 2},
			{"a secret that is not here", &model.Snapshot{Version: "333333333333", Export: []model.ResolvedExport{export("c", "http://127.0.0.1:1", "PALISADE_TEST_NOT_SET")}}, true, 2},
			{"another leads again", &model.Snapshot{Version: "333333333333"}, false, 0},
		} {
			inForce.Store(step.snap)
			leads.Store(step.leads)
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			if got := len(s.Status()); got != step.want {
				t.Errorf("%s: %d exports, want %d", step.what, got, step.want)
			}
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
