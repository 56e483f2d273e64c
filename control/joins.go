package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/store/table"
)

// joins keeps join tokens in the store; it is attest.JoinStore. A token that is used up leaves a trace that only the
// process which used it can find: if the answer is lost on its way, that one may use the token again for a while, unless
// anything was revoked since: it may be what the token gave.
type joins struct {
	store   *table.Store
	process string // secret of the process that asks; empty: once is once
	revoked uint64 // sequence number of the revocation list
	// taken is called in the transaction that takes a token which has not expired; nil: nothing else is written.
	taken func(ctx context.Context, t *table.Tx, name string) error
}

const answerAgain = 5 * time.Minute

// Put is attest.JoinStore's.
func (j joins) Put(ctx context.Context, r attest.JoinRecord) error {
	return j.store.Write(ctx, func(t *table.Tx) error {
		return t.AddJoinToken(ctx, table.JoinToken{Hash: r.Hash, Name: r.Name, Expires: r.Expires})
	})
}

// Take is attest.JoinStore's. If it is not known whether the token was taken, it counts as taken.
func (j joins) Take(ctx context.Context, hash [sha256.Size]byte) (attest.JoinRecord, error) {
	var taken table.JoinToken
	err := j.store.Write(ctx, func(t *table.Tx) (err error) {
		taken, err = t.TakeJoinToken(ctx, hash)
		first := err == nil
		if errors.Is(err, table.ErrNotFound) && j.process != "" {
			taken, err = t.TakeJoinToken(ctx, j.trace(hash))
		}
		if err != nil || !time.Now().Before(taken.Expires) {
			return err
		}
		if j.taken != nil {
			if err := j.taken(ctx, t, taken.Name); err != nil {
				return err
			}
		}
		if j.process == "" {
			return nil
		}
		trace := table.JoinToken{Hash: j.trace(hash), Name: taken.Name, Expires: taken.Expires}
		if first {
			trace.Expires = time.Now().Add(answerAgain)
		}
		return t.AddJoinToken(ctx, trace)
	})
	if errors.Is(err, table.ErrNotFound) {
		return attest.JoinRecord{}, fmt.Errorf("%w: it was used already, has expired, or was never made", attest.ErrJoinToken)
	}
	return attest.JoinRecord{Hash: hash, Name: taken.Name, Expires: taken.Expires}, err
}

// trace is the hash under which a process finds the token that it has used.
func (j joins) trace(hash [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(hash[:], "%d %s", j.revoked, j.process))
}
