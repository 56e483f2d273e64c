package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

const origin = "palisade.example/ledger/shop"

type pair struct {
	note.Signer
	verifier note.Verifier
}

// key makes a key of the ledger.
func key(t testing.TB, name string) pair {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return pair{s, v}
}

// witnessKey makes a key of a witness (C2SP tlog-cosignature).
func witnessKey(t testing.TB, name string) pair {
	t.Helper()
	secret, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f_note.NewSignerForCosignatureV1(secret)
	if err != nil {
		t.Fatal(err)
	}
	return pair{s, s.Verifier()}
}

func records(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, `{"class_uid":4002,"metadata":{"uid":"%d"}}`, i)
	}
	return out
}

func hashes(records [][]byte) []Hash {
	out := make([]Hash, len(records))
	for i, r := range records {
		out[i] = HashOf(r)
	}
	return out
}

// each numbers records from 1 on.
func each(records [][]byte) iter.Seq2[Record, error] { return eachFrom(1, records) }

func eachFrom(first uint64, records [][]byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for i, r := range records {
			if !yield(Record{first + uint64(i), r}, nil) {
				return
			}
		}
	}
}

func open(t testing.TB, dir string, k note.Signer) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), Options{Dir: dir, Signer: k, Every: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func shut(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// written makes a ledger of records, and returns its folder and its last checkpoint.
func written(t testing.TB, k note.Signer, dir string, at uint64, records [][]byte) []byte {
	t.Helper()
	l := open(t, dir, k)
	if err := l.Append(t.Context(), at, hashes(records)); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	text, err := Files(os.DirFS(dir)).Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAppendAgain(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(700)
	l := open(t, dir, k)
	if _, err := Open(t.Context(), Options{Dir: dir, Signer: k}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	for _, part := range [][2]int{{0, 300}, {0, 300}, {100, 400}, {399, 700}, {700, 700}, {10, 10}} {
		if err := l.Append(t.Context(), uint64(part[0]), hashes(all[part[0]:part[1]])); err != nil {
			t.Fatalf("appending %v: %v", part, err)
		}
	}
	if l.Size() != 700 {
		t.Errorf("size %d", l.Size())
	}
	if err := l.Append(t.Context(), 701, hashes(all[:1])); !errors.Is(err, ErrGap) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := l.Append(t.Context(), 511, hashes([][]byte{all[511], all[513]})); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "record 513") {
		t.Errorf("another record: %v", err)
	}
	shut(t, l)
	if err := l.Append(t.Context(), 700, hashes(all[:1])); err == nil {
		t.Error("appended to a closed ledger")
	}
	l = open(t, dir, k)
	if l.Size() != 700 {
		t.Errorf("size %d after opening again", l.Size())
	}
	shut(t, l)
}

// TestKilled appends in a process of its own, kills it at any moment, and goes on: what was acknowledged is there, and the
// ledger verifies.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("LEDGER_TEST_DIR"); dir != "" {
		appendForEver(t, dir)
		return
	}
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	acknowledged := 0
	for round := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "LEDGER_TEST_DIR="+dir, "LEDGER_TEST_KEY="+secret)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It is killed when it has acknowledged some more, at another moment of its work in each round.
		for n := 0; n < 3+5*round; {
			var size int
			if _, err := fmt.Fscanf(out, "acknowledged %d\n", &size); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			acknowledged, n = size, n+1
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		cancel()
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, s)
	size := int(l.Size())
	if size < acknowledged {
		t.Errorf("%d records were acknowledged, %d are there", acknowledged, size)
	}
	if err := l.Append(t.Context(), 0, hashes(records(size+3))); err != nil { // what is there is what was put there
		t.Error(err)
	}
	shut(t, l)
	tree := Files(os.DirFS(dir))
	text, err := tree.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), &Evidence{Keys: Keys{Ledger: v}, Tree: tree, Checkpoint: text, Records: each(records(size + 3))})
	if err != nil || !r.Sound() || r.Verified != uint64(size)+3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func appendForEver(t *testing.T, dir string) {
	s, err := note.NewSigner(os.Getenv("LEDGER_TEST_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, s)
	for {
		at := l.Size()
		all := records(int(at) + 37)
		if err := l.Append(t.Context(), at, hashes(all[at:])); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acknowledged %d\n", l.Size())
	}
}

// remembered is a witness's memory in a file.
type remembered string

func (r remembered) Last() ([]byte, error) {
	text, err := os.ReadFile(string(r))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

func (r remembered) Keep(text []byte) error { return os.WriteFile(string(r), text, 0o600) }

func TestWitness(t *testing.T) {
	k, second, dir, all := key(t, origin), witnessKey(t, "auditor.example"), t.TempDir(), records(600)
	tree := Files(os.DirFS(dir))
	w := NewWitness(k.verifier, second, remembered(filepath.Join(t.TempDir(), "last")))
	first := written(t, k, dir, 0, all[:300])
	signed, err := w.Cosign(t.Context(), tree, first)
	if err != nil {
		t.Fatal(err)
	}
	keys := Keys{Ledger: k.verifier, Witnesses: []note.Verifier{second.verifier}, Quorum: 1}
	if c, err := keys.Checkpoint(signed); err != nil || c.Size != 300 || !slices.Equal(c.Witnesses, []string{"auditor.example"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := keys.Checkpoint(first); err == nil || !strings.Contains(err.Error(), "0 of 1 witnesses") {
		t.Errorf("without the witness: %v", err)
	}
	later := written(t, k, dir, 300, all[300:])
	if _, err := w.Cosign(t.Context(), tree, later); err != nil {
		t.Errorf("the ledger has grown: %v", err)
	}
	if _, err := w.Cosign(t.Context(), tree, first); !errors.Is(err, ErrRolledBack) {
		t.Errorf("an older checkpoint: %v", err)
	}
	// The owner of the key writes another history, longer than the one before.
	other := t.TempDir()
	all[17] = []byte("nothing happened")
	forged := written(t, k, other, 0, append(slices.Clone(all), records(50)...))
	if _, err := w.Cosign(t.Context(), Files(os.DirFS(other)), forged); !errors.Is(err, ErrForked) {
		t.Errorf("another history: %v", err)
	}
	if _, err := w.Cosign(t.Context(), tree, written(t, key(t, origin), t.TempDir(), 0, all)); err == nil {
		t.Error("the witness signed for another key")
	}
}

func TestInclusion(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(1000)
	text := written(t, k, dir, 0, all)
	c, err := (&Keys{Ledger: k.verifier}).Checkpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint64{0, 1, 255, 256, 511, 998, 999} {
		p, err := Files(os.DirFS(dir)).Prove(t.Context(), at, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Included(at, HashOf(all[at]), p); err != nil {
			t.Error(err)
		}
		if err := c.Included(at, HashOf(all[(at+1)%1000]), p); err == nil {
			t.Errorf("another record is proved to stand at %d", at)
		}
	}
	if _, err := Files(os.DirFS(dir)).Prove(t.Context(), 1000, c.Size); err == nil {
		t.Error("a record beyond the end was proved")
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir(), key(b, origin))
	batch := make([]Hash, 4096)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i := range batch {
			batch[i] = HashOf(fmt.Append(nil, n+i))
		}
		if err := l.Append(b.Context(), l.Size(), batch); err != nil {
			b.Fatal(err)
		}
		n += len(batch)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	shut(b, l)
}

func BenchmarkProof(b *testing.B) {
	k, dir, n := key(b, origin), b.TempDir(), 100_000
	all := records(n)
	c, err := (&Keys{Ledger: k.verifier}).Checkpoint(written(b, k, dir, 0, all))
	if err != nil {
		b.Fatal(err)
	}
	tree := Files(os.DirFS(dir))
	b.Run("inclusion", func(b *testing.B) {
		at := 0
		for b.Loop() {
			at = (at + 7919) % n
			p, err := tree.Prove(b.Context(), uint64(at), c.Size)
			if err == nil {
				err = c.Included(uint64(at), HashOf(all[at]), p)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		text, err := tree.Newest(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if r, err := Verify(b.Context(), &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: tree, Checkpoint: text, Records: each(all)}); err != nil || !r.Sound() {
				b.Fatal(r, err)
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
