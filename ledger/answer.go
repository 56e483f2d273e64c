package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// MostAsked bounds what is asked of a witness, in bytes: a proof and a checkpoint.
const MostAsked = 63*64 + mostCheckpoint

// mostProof is how many hashes a proof may have (C2SP tlog-witness).
const mostProof = 63

// NotSignedError says why a witness does not sign what it was asked to (C2SP tlog-witness).
type NotSignedError struct {
	Status int    // of HTTP
	Size   uint64 // of the last checkpoint that it signed, if that is why
	Known  bool   // Size says why
	Err    error

	Checkpoint []byte // that was refused, if the ledger has signed it
}

func (e *NotSignedError) Error() string { return e.Err.Error() }
func (e *NotSignedError) Unwrap() error { return e.Err }

func notSigned(status int, format string, args ...any) error {
	return &NotSignedError{Status: status, Err: fmt.Errorf(format, args...)}
}

// asked is a request to sign.
type asked struct {
	old        uint64
	proof      [][]byte
	checkpoint []byte
}

// parseAsked reads "old N", the hashes of a proof, an empty line and a checkpoint.
func parseAsked(body []byte) (*asked, error) {
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	size, is := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseUint(size, 10, 64)
	if !ok || !is || err != nil || strconv.FormatUint(old, 10) != size {
		return nil, errors.New("it does not begin with the line \"old N\", hashes and an empty line")
	}
	if len(lines)-1 > mostProof {
		return nil, fmt.Errorf("its proof has %d hashes, and %d are the most there may be", len(lines)-1, mostProof)
	}
	a := &asked{old: old, checkpoint: checkpoint}
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != sha256.Size {
			return nil, errors.New("its proof has a line that is no hash")
		}
		a.proof = append(a.proof, hash)
	}
	if old == 0 && len(a.proof) > 0 {
		return nil, errors.New("there is nothing to prove of an empty tree")
	}
	return a, nil
}

// Answer is Cosign for who sends a proof in place of a tree: it reads the body of an add-checkpoint and returns the line with the witness's
// signature. An error that is no *NotSignedError is the witness's own. ErrForked and ErrRolledBack say what the other side has shown.
func (w *Witness) Answer(body []byte) ([]byte, error) {
	a, err := parseAsked(body)
	if err != nil {
		return nil, notSigned(http.StatusBadRequest, "reading what is asked: %w", err)
	}
	if origin, _, _ := bytes.Cut(a.checkpoint, []byte("\n")); string(origin) != w.keys.Ledger.Name() {
		return nil, notSigned(http.StatusNotFound, "the ledger %.200q is not the one that is witnessed here", origin)
	}
	now, err := w.keys.Checkpoint(a.checkpoint)
	if err != nil {
		return nil, notSigned(http.StatusForbidden, "%w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.proven(a, now); err != nil {
		if refusal, ok := errors.AsType[*NotSignedError](err); ok {
			refusal.Checkpoint = a.checkpoint
		}
		return nil, err
	}
	n, err := note.Open(a.checkpoint, note.VerifierList(w.keys.Ledger))
	if err != nil {
		return nil, notSigned(http.StatusForbidden, "reading the checkpoint: %w", err)
	}
	own := &note.Note{Text: n.Text}
	signed, err := note.Sign(own, w.signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	if err := w.memory.Keep(a.checkpoint); err != nil { // first remembered, then given away
		return nil, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return signed[len(n.Text)+1:], nil
}

// proven holds a checkpoint against the last that was signed.
func (w *Witness) proven(a *asked, now *Checkpoint) error {
	last, err := w.memory.Last()
	if err != nil {
		return fmt.Errorf("remembering the last checkpoint: %w", err)
	}
	before := &Checkpoint{Root: rfc6962.DefaultHasher.EmptyRoot()}
	if last != nil {
		if before, err = w.keys.Checkpoint(last); err != nil {
			return fmt.Errorf("what is remembered: %w", err)
		}
	}
	switch {
	case a.old > now.Size:
		return notSigned(http.StatusBadRequest, "%d records are said to be signed already, and the checkpoint has %d", a.old, now.Size)
	case a.old != before.Size:
		return &NotSignedError{Status: http.StatusConflict, Size: before.Size, Known: true, Err: fmt.Errorf("the last checkpoint that was signed has %d records", before.Size)}
	case a.old == now.Size && !bytes.Equal(before.Root, now.Root):
		return notSigned(http.StatusConflict, "%w: two of %d records", ErrForked, now.Size)
	case a.old == 0:
		return nil
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, now.Size, a.proof, before.Root, now.Root); err != nil {
		return notSigned(http.StatusUnprocessableEntity, "%d records, then %d: %w", before.Size, now.Size, err)
	}
	return nil
}
