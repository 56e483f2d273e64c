package workload

import (
	"errors"
	"sync"
)

// errBusy says that a caller, its user or everybody together has as much as we give.
var errBusy = errors.New("too many callers")

// quota bounds how much of something callers hold at a time: one process a little, one user half, all together
// the whole. Half, because a user can start as many processes as they like and must not shut out all others.
type quota struct {
	process, whole int

	mu     sync.Mutex
	held   int
	byPID  map[int32]int
	byUser map[uint32]int
}

func newQuota(process, whole int) *quota {
	return &quota{process: process, whole: whole, byPID: map[int32]int{}, byUser: map[uint32]int{}}
}

// take returns errBusy if there is no more for this caller. Who took must give back, with the same pid and user.
func (q *quota) take(pid int32, uid uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held >= q.whole || q.byPID[pid] >= q.process || q.byUser[uid] >= max(q.whole/2, 1) {
		return errBusy
	}
	q.held++
	q.byPID[pid]++
	q.byUser[uid]++
	return nil
}

func (q *quota) give(pid int32, uid uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held--
	less(q.byPID, pid)
	less(q.byUser, uid)
}

// less counts down and forgets at zero, so that the maps hold present callers only.
func less[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}
