package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// answering serves a witness as tlog-witness has it.
func answering(t *testing.T, w *Witness) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, MostAsked))
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/w/add-checkpoint" {
			http.NotFound(out, r)
			return
		}
		line, err := w.Answer(body)
		if refusal, ok := errors.AsType[*NotSignedError](err); ok {
			if refusal.Known {
				out.Header().Set("Content-Type", "text/x.tlog.size")
			}
			out.WriteHeader(refusal.Status)
			_, _ = fmt.Fprintf(out, "%d\n", refusal.Size)
			return
		}
		if err != nil {
			t.Error(err)
		}
		_, _ = out.Write(line)
	}))
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL + "/w")
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestRemote has tessera ask a witness of ours: for the first time, later, when it is not known what it signed, and for a history that was written anew.
func TestRemote(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(900)
	secret, public, err := NewWitnessKey("auditor.example")
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewWitnessSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	memory := remembered(filepath.Join(t.TempDir(), "last"))
	at := answering(t, NewWitness(k.verifier, second, memory))
	r, err := NewRemote(public, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := &Keys{Ledger: k.verifier, Witnesses: []note.Verifier{r.Key}, Quorum: 1}
	tree := Files(os.DirFS(dir))
	size := 0
	for i, c := range []struct {
		size  int
		known uint64
	}{{300, 0}, {300, 300}, {512, 300}, {700, 0}, {900, 1 << 40}} {
		text := written(t, k, dir, uint64(size), all[size:c.size])
		size = c.size
		signed, err := r.Cosign(t.Context(), k.verifier, tree, c.known, text)
		if err != nil {
			t.Fatal(i, err)
		}
		if got, err := keys.Checkpoint(signed); err != nil || int(got.Size) != c.size || !bytes.HasPrefix(signed, text) {
			t.Errorf("%d: %v\n%s", i, err, signed)
		}
		if last, err := memory.Last(); err != nil || !bytes.Equal(last, text) {
			t.Errorf("%d: it remembers %s, %v", i, last, err)
		}
	}
	other := slices.Clone(all)
	other[3] = []byte("nothing happened")
	rewritten := t.TempDir()
	forged := written(t, k, rewritten, 0, append(other, []byte("more")))
	if signed, err := r.Cosign(t.Context(), k.verifier, Files(os.DirFS(rewritten)), 900, forged); err == nil || !strings.Contains(err.Error(), "auditor.example") {
		t.Errorf("another history is signed: %s, %v", signed, err)
	}
	if _, err := NewRemote("auditor.example+x", at, nil); err == nil {
		t.Error("a key that is none")
	}
	if _, err := NewVerifier(public); err == nil || !strings.Contains(err.Error(), "this is the key of a witness") {
		t.Errorf("the key of a witness for that of a ledger: %v", err)
	}
	unknown := httptest.NewTLSServer(http.NotFoundHandler()) // of an authority that nobody knows
	defer unknown.Close()
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure, err := url.Parse(unknown.URL)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := NewRemote(public, secure, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strange.Cosign(t.Context(), k.verifier, tree, 900, written(t, k, dir, 900, nil)); err == nil || strings.ContainsAny(err.Error(), "\n\\") || strings.Contains(err.Error(), "policy") ||
		!strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with a certificate of somebody: %v", err)
	}
	hostile := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = out.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
	}))
	defer hostile.Close()
	elsewhere, err := url.Parse(hostile.URL)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = NewRemote(public, elsewhere, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Cosign(t.Context(), k.verifier, tree, 0, written(t, k, dir, 900, nil)); err == nil || len(err.Error()) > 1000 {
		t.Errorf("an answer without end: %.2000v", err)
	}
}

// TestAnswer holds what a witness answers to what nobody should ask.
func TestAnswer(t *testing.T) {
	k, second, dir, all := key(t, origin), witnessKey(t, "auditor.example"), t.TempDir(), records(600)
	w := NewWitness(k.verifier, second, remembered(filepath.Join(t.TempDir(), "last")))
	first := written(t, k, dir, 0, all[:300])
	if _, err := w.Answer(append([]byte("old 0\n\n"), first...)); err != nil {
		t.Fatal(err)
	}
	later := string(written(t, k, dir, 300, all[300:]))
	elsewhere := string(written(t, key(t, "other.example"), t.TempDir(), 0, all))
	unknown := string(written(t, key(t, origin), t.TempDir(), 0, all))
	fork := slices.Clone(all[:300])
	fork[7] = nil
	same := string(written(t, k, t.TempDir(), 0, fork))
	hash := strings.Repeat("A", 43) + "=\n"
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"nothing":            {"", 400},
		"no size":            {"old\n\n" + later, 400},
		"a size of its own":  {"old 0300\n\n" + later, 400},
		"no empty line":      {"old 300\n" + later[:20], 400},
		"no hash":            {"old 300\nAAAA\n\n" + later, 400},
		"too many hashes":    {"old 300\n" + strings.Repeat(hash, 64) + "\n" + later, 400},
		"proof of nothing":   {"old 0\n" + hash + "\n" + later, 400},
		"beyond":             {"old 601\n\n" + later, 400},
		"another ledger":     {"old 0\n\n" + elsewhere, 404},
		"another key":        {"old 300\n\n" + unknown, 403},
		"no signature":       {"old 300\n\n" + origin + "\n600\nAAAA\n", 403},
		"older":              {"old 200\n\n" + later, 409},
		"new again":          {"old 0\n\n" + later, 409},
		"two of one size":    {"old 300\n\n" + same, 409},
		"without a proof":    {"old 300\n\n" + later, 422},
		"with another proof": {"old 300\n" + hash + "\n" + later, 422},
	} {
		line, err := w.Answer([]byte(c.body))
		refusal, ok := errors.AsType[*NotSignedError](err)
		if !ok || refusal.Status != c.status || line != nil {
			t.Errorf("%s: %q, %v, want %d", name, line, err, c.status)
			continue
		}
		if known := name == "older" || name == "new again"; refusal.Known != known || known && refusal.Size != 300 {
			t.Errorf("%s: %+v", name, refusal)
		}
		if (name == "two of one size") != errors.Is(err, ErrForked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAnswer holds that a witness signs nothing of what it is sent without a proof.
func FuzzAnswer(f *testing.F) {
	k := key(f, origin)
	dir := f.TempDir()
	all := records(300)
	first := written(f, k, dir, 0, all[:200])
	later := written(f, k, dir, 200, all[200:])
	f.Add([]byte("old 200\n\n" + string(later)))
	f.Add([]byte("old 200\n" + strings.Repeat("A", 43) + "=\n\n" + string(later)))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := NewWitness(k.verifier, witnessKey(t, "auditor.example"), remembered(filepath.Join(t.TempDir(), "last")))
		if err := w.memory.Keep(first); err != nil {
			t.Fatal(err)
		}
		if line, err := w.Answer(body); err == nil && !bytes.Contains(body, first) {
			t.Errorf("signed: %s", line)
		}
	})
}
