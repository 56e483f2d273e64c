package reliability

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/fleettest"
)

type storm struct {
	workloads int
	phases    []phase
}

type phase struct {
	name           string
	took           time.Duration
	errors         int
	control, swarm time.Duration
}

func swarm([]string) int { return 1 }

func stormOf(t *testing.T, programs *fleettest.Programs) storm { return storm{} }
