package authtest_test

import (
	"testing"

	"sensorcast/auth/authtest"
)

func TestMemory_KeepsTheContract(t *testing.T) {
	authtest.TestStore(t, func(*testing.T) authtest.Store { return authtest.NewMemory() })
}
