package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/bus"
)

func TestBucket(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "models"})
	must(t, err)
	_, err = r.control.MakeBucket(ctx, bus.BucketOptions{Name: "models"})
	must(t, err)

	first, err := b.Create(ctx, "edge.a", []byte("1"))
	must(t, err)
	if _, err := b.Create(ctx, "edge.a", []byte("2")); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("a second Create: %v", err)
	}
	second, err := b.Update(ctx, "edge.a", []byte("2"), first)
	must(t, err)
	if _, err := b.Update(ctx, "edge.a", []byte("3"), first); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("an Update of what was: %v", err)
	}
	if e, err := b.Get(ctx, "edge.a"); err != nil || string(e.Value) != "2" || e.Revision != second || e.Time.IsZero() {
		t.Fatalf("Get: %+v, %v", e, err)
	}
	must(t, b.Delete(ctx, "edge.a"))
	if _, err := b.Get(ctx, "edge.a"); !errors.Is(err, bus.ErrNotFound) {
		t.Fatalf("Get of a deleted key: %v", err)
	}
	if _, err := b.Get(ctx, "edge.b"); !errors.Is(err, bus.ErrNotFound) {
		t.Fatalf("Get of no key: %v", err)
	}
	third, err := b.Create(ctx, "edge.a", []byte("4"))
	must(t, err)
	fourth, err := b.Put(ctx, "edge.a", []byte("5"))
	must(t, err)
	if first >= second || second >= third || third >= fourth {
		t.Errorf("revisions %d %d %d %d do not grow", first, second, third, fourth)
	}
	for _, key := range []string{"", "a b", "a.*", ">", "a..b", "ä"} {
		if _, err := b.Put(ctx, key, nil); err == nil {
			t.Errorf("key %q was taken", key)
		}
	}
	if _, err := b.Put(ctx, "edge.a", make([]byte, 5<<20)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("5 MiB: %v", err)
	}
	if _, err := r.control.Bucket("none").Get(ctx, "a"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("no bucket: %v", err)
	}
}

// TestBucketManyWatches holds more watches of a bucket than servers take by themselves.
func TestBucketManyWatches(t *testing.T) {
	r := newRig(t)
	b, err := r.control.MakeBucket(soon(t), bus.BucketOptions{Name: "models"})
	must(t, err)
	const watches = 1100
	begun := make(chan struct{}, watches)
	for range watches {
		background(t, func(ctx context.Context) error {
			return b.Watch(ctx, "edge", func([]bus.Change) {
				select {
				case begun <- struct{}{}:
				default:
				}
			})
		})
	}
	for ctx, n := soon(t), 0; n < watches; n++ {
		select {
		case <-begun:
		case <-ctx.Done():
			t.Fatalf("%d of %d watches have begun", n, watches)
		}
	}
}

func TestBucketUpdateAll(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "models"})
	must(t, err)
	first, err := b.Create(ctx, "a", []byte("1"))
	must(t, err)
	revisions, err := b.UpdateAll(ctx, []bus.Write{{Key: "a", Value: []byte("2"), Revision: first}, {Key: "b", Value: []byte("3")}, {Key: "c"}})
	must(t, err)
	for i, want := range []string{"2", "3", ""} {
		key := string(rune('a' + i))
		if e, err := b.Get(ctx, key); err != nil || string(e.Value) != want || e.Revision != revisions[i] {
			t.Errorf("%s is %+v at %v, %v", key, e, revisions, err)
		}
	}
	if _, err := b.UpdateAll(ctx, []bus.Write{{Key: "b", Value: []byte("4"), Revision: revisions[1]}, {Key: "a", Value: []byte("4"), Revision: first}}); err == nil {
		t.Fatal("a batch with an old revision was taken")
	}
	if e, err := b.Get(ctx, "b"); err != nil || string(e.Value) != "3" {
		t.Errorf("a part of a refused batch was written: %+v, %v", e, err)
	}
	for name, writes := range map[string][]bus.Write{"none": nil, "a pattern": {{Key: "a.*"}}, "too many": make([]bus.Write, 1001)} {
		if _, err := b.UpdateAll(ctx, writes); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestBucketCompareAndSwap lets many writers count; each must count once.
func TestBucketCompareAndSwap(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "count"})
	must(t, err)
	_, err = b.Create(ctx, "n", []byte("0"))
	must(t, err)
	const writers, each = 8, 20
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for done := 0; done < each; {
				e, err := b.Get(ctx, "n")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				_, _ = fmt.Sscan(string(e.Value), &n)
				switch _, err = b.Update(ctx, "n", fmt.Append(nil, n+1), e.Revision); {
				case err == nil:
					done++
				case !errors.Is(err, bus.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if e, err := b.Get(ctx, "n"); err != nil || string(e.Value) != fmt.Sprint(writers*each) {
		t.Fatalf("counted %s, %v", e.Value, err)
	}
}

// view is what a watcher knows.
type view struct {
	mu    sync.Mutex
	keys  map[string]string
	calls int
	older bool // an older revision came after a newer one
	last  map[string]uint64
}

func (v *view) changed(changes []bus.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	for _, c := range changes {
		if c.Revision <= v.last[c.Key] {
			v.older = true
		}
		v.last[c.Key] = c.Revision
		if c.Deleted {
			delete(v.keys, c.Key)
		} else {
			v.keys[c.Key] = string(c.Value)
		}
	}
}

func (v *view) is(want map[string]string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls > 0 && maps.Equal(v.keys, want)
}

func watching(t testing.TB, b *bus.Bucket, pattern string) *view {
	t.Helper()
	v := &view{keys: map[string]string{}, last: map[string]uint64{}}
	background(t, func(ctx context.Context) error { return b.Watch(ctx, pattern, v.changed) })
	return v
}

func TestWatch(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	early := watching(t, r.control.Bucket("models"), ">") // before there is a bucket
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "models"})
	must(t, err)
	eventually(t, "an empty bucket is told", func() bool { return early.is(map[string]string{}) })
	want := map[string]string{}
	for i := range 50 {
		key := fmt.Sprintf("edge.%d", i)
		want[key] = "v"
		_, err = b.Put(ctx, key, []byte("v"))
		must(t, err)
	}
	_, err = b.Put(ctx, "sidecar.a", []byte("other"))
	must(t, err)
	must(t, b.Delete(ctx, "edge.7"))
	delete(want, "edge.7")
	late := watching(t, b, "edge.*")
	eventually(t, "what was there", func() bool { return late.is(want) })
	if late.calls != 1 {
		t.Errorf("what was there came in %d calls, want 1", late.calls)
	}
	want["edge.1"] = "new"
	_, err = b.Put(ctx, "edge.1", []byte("new"))
	must(t, err)
	eventually(t, "a change", func() bool { return late.is(want) })
	want["sidecar.a"] = "other"
	eventually(t, "all keys", func() bool { return early.is(want) })
}
