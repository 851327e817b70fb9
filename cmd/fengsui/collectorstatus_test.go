package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"fengsui/collector"
)

// TestStatusRefusals has the status say what senders were refused, for those
// inputs that refused any.
func TestStatusRefusals(t *testing.T) {
	var out strings.Builder
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	s := collectorStatus{Status: collector.Status{Inputs: []collector.InputStatus{
		{Account: collector.Account{Input: "quiet"}},
		{Account: collector.Account{Input: "web"}, Refused: map[string]uint64{"unauthorized": 3, "busy": 12}},
	}}}
	if err := s.print(cmd, false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "\nweb 拒绝 / refused: busy 12, unauthorized 3\n") || strings.Contains(out.String(), "quiet 拒绝") {
		t.Errorf("%s", out.String())
	}
}
