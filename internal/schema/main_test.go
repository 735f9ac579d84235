package schema_test

import (
	"os"
	"testing"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
