package ledger

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"
)

// Remote is a witness that is asked over HTTP to sign (C2SP tlog-witness, add-checkpoint). Tessera speaks to it.
type Remote struct {
	Key note.Verifier

	group  tessera.WitnessGroup
	client *http.Client
}

// The bounds of what a witness answers.
const (
	remoteTime = 20 * time.Second
	remoteSize = 64 << 10 // bytes
)

// NewRemote makes a witness of its public key (C2SP tlog-cosignature) and the URL before add-checkpoint. The transport may be nil.
func NewRemote(key string, at *url.URL, transport http.RoundTripper) (*Remote, error) {
	v, err := NewWitnessVerifier(key)
	if err != nil {
		return nil, err
	}
	if transport == nil {
		transport = http.DefaultTransport
	}
	one := tessera.Witness{Key: v, URL: at.JoinPath("add-checkpoint").String()}
	return &Remote{v, tessera.NewWitnessGroup(1, one), &http.Client{
		Timeout: remoteTime, Transport: brief{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Cosign has the witness add its signature to a checkpoint of a tree. Signed is of how many records the last one was that it signed, as far as
// is known. It needs no private key.
func (r *Remote) Cosign(ctx context.Context, key note.Verifier, t Tree, signed uint64, checkpoint []byte) ([]byte, error) {
	c, err := (&Keys{Ledger: key}).Checkpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	n, err := note.Open(checkpoint, note.VerifierList(key))
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	o := tessera.NewAppendOptions().WithCheckpointSigner(signedOnce{n}).WithWitnesses(r.group, &tessera.WitnessOptions{Timeout: remoteTime})
	out, err := o.CheckpointPublisher(known{t, c.Origin, min(signed, c.Size)}, r.client)(ctx, c.Size, c.Root)
	if err != nil {
		return nil, fmt.Errorf("asking the witness %s: %.500s", r.Key.Name(), plainly(err)) // which repeats what the other side says
	}
	return out, nil
}

// plainly is what tessera says in one line, without that its policy was not met: there is one witness, and it has not signed.
func plainly(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, notSatisfied) {
			lines = append(lines, line)
		}
	}
	return cmp.Or(strings.Join(lines, "; "), "it has not signed")
}

const notSatisfied = "witness policy was not satisfied" // tessera's, whose error is internal to it

// signedOnce signs nothing but what is signed already.
type signedOnce struct{ *note.Note }

func (s signedOnce) Name() string    { return s.Sigs[0].Name }
func (s signedOnce) KeyHash() uint32 { return s.Sigs[0].Hash }

func (s signedOnce) Sign(text []byte) ([]byte, error) {
	if string(text) != s.Text {
		return nil, errors.New("the checkpoint says more than a tree has")
	}
	sig, err := base64.StdEncoding.DecodeString(s.Sigs[0].Base64)
	if err != nil || len(sig) < 4 {
		return nil, errors.New("the signature of the checkpoint cannot be read")
	}
	return sig[4:], nil // behind the hash of the key
}

// known is what tessera reads of a ledger to prove to a witness that it goes on from what that signed.
type known struct {
	Tree
	origin string
	signed uint64
}

// ReadCheckpoint tells which checkpoint the witness knows; tessera reads its size alone.
func (k known) ReadCheckpoint(context.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%s\n%d\n\n", k.origin, k.signed), nil
}

func (k known) ReadTile(ctx context.Context, level, index uint64, partial uint8) ([]byte, error) {
	return k.tile(ctx, level, index, partial)
}

func (known) ReadEntryBundle(context.Context, uint64, uint8) ([]byte, error) {
	return nil, fs.ErrNotExist
}
func (k known) NextIndex(context.Context) (uint64, error)      { return k.signed, nil }
func (k known) IntegratedSize(context.Context) (uint64, error) { return k.signed, nil }

// brief reads no more of an answer than one may have.
type brief struct{ http.RoundTripper }

func (b brief) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		a.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(a.Body, remoteSize), a.Body}
	}
	return a, err
}
