package store_test

import (
	"testing"

	"go.uber.org/goleak"

	"fengsui/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

func TestStart(t *testing.T) {
	s := storetest.Start(t)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}
