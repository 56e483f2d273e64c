package reliability

import (
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
)

func newCluster(t *testing.T, programs *fleettest.Programs) *fleet { return nil }

func cluster() []row { return nil }
