package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/analyzer/identity"
	"fengsui/internal/clickhouse"
	"fengsui/schemas"
)

func newWho(flags *globalFlags) *cobra.Command {
	var (
		at, unit string
		q        = identity.Question{Role: "address"}
	)
	cmd := &cobra.Command{
		Use: "who ADDRESS", Short: "查地址当时是谁 / who had an address at a time",
		Long: `由 DHCP 租约、准入与 VPN 登录、NAT 日志，说出某地址在某一时刻是哪台机器、哪个账号。
出口地址须给出端口。不同单位的相同私有地址互不相干；不给单位，则分单位列出。
From leases, logins and address translations: which machine and which account an
address was. A translated address needs its port. The same private address in
two units is two addresses; without --unit each unit is told by itself.`,
		Example: "  fengsui who 10.1.2.3 --at 2026-11-22T08:00:00+08:00\n  fengsui who 198.51.100.1 --port 40100 --protocol tcp --at 2h",
		Args:    exactArgs(1, "an address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ip, err := netip.ParseAddr(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is no address", args[0])}
			}
			q.Address, q.Unit, q.Transport = ip.Unmap().WithZone("").String(), unit, strings.ToLower(q.Transport)
			if q.Port < 0 || q.Port > 65535 {
				return usageError{fmt.Errorf("--port %d is not between 1 and 65535", q.Port)}
			}
			if q.At, err = moment(at, time.Now()); err != nil {
				return usageError{fmt.Errorf("--at: %w", err)}
			}
			return withStore(cmd, flags, func(cfg *Config, db *clickhouse.DB) error {
				who, err := whoHad(cmd.Context(), db, cfg, q, cmd.Flags().Changed("unit"))
				if err != nil {
					return err
				}
				return show(cmd, flags, who, whoHeader, whoRow)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "0s", "the time, such as 2026-11-22T08:00:00+08:00, or an age such as 2h")
	cmd.Flags().IntVar(&q.Port, "port", 0, "its port, of an address that others are translated to")
	cmd.Flags().StringVar(&q.Transport, "protocol", "", "tcp or udp, with --port")
	cmd.Flags().StringVar(&q.Peer, "peer", "", "whom it spoke with, where a port is shared")
	cmd.Flags().StringVar(&unit, "unit", "", "code of the unit whose address it is")
	return cmd
}

// whoHad asks for one unit, or for each that knows anything of the address.
func whoHad(ctx context.Context, db *clickhouse.DB, cfg *Config, q identity.Question, oneUnit bool) ([]schemas.Identity, error) {
	ids := cfg.Analyzer.Identity
	units := []string{q.Unit}
	if !oneUnit {
		var err error
		if units, err = db.UnitsOfIdentities(ctx, q.Keys(), q.At.Add(-ids.Lookback), q.At.Add(ids.Skew)); err != nil {
			return nil, err
		}
	}
	snap, err := registryAt(ctx, cfg, time.Time{})
	if err != nil {
		return nil, err
	}
	questions := make([]identity.Question, len(units))
	for i, unit := range units {
		questions[i] = q
		questions[i].Unit = unit
	}
	answers, err := ids.Ask(ctx, snap, questions, db.Identities)
	if err != nil {
		return nil, err
	}
	var who []schemas.Identity
	for _, answer := range answers {
		for _, w := range answer {
			if !slices.ContainsFunc(who, func(o schemas.Identity) bool { return o.EventID == w.EventID }) {
				who = append(who, w)
			}
		}
	}
	return who, nil
}

var whoHeader = []string{"KIND", "UNIT", "ADDRESS", "MAC", "HOST", "USER", "FROM", "UNTIL", "TOLD BY", "EVENT"}

func whoRow(w *schemas.Identity) []string {
	return []string{
		string(w.Kind), w.Unit, whoAddress(w), w.MAC, w.Host, w.User, when(w.From), when(w.Until),
		strings.TrimSpace(w.System + " " + w.Source), w.EventID,
	}
}

// whoAddress is what was had: of a translation, what it led to.
func whoAddress(w *schemas.Identity) string {
	address := withPort(w.Address, w.Port)
	if w.LastPort > 0 {
		address += "-" + strconv.Itoa(w.LastPort)
	}
	if w.Inside != "" {
		address += " → " + withPort(w.Inside, w.InsidePort)
	}
	return address
}

func withPort(address string, port int) string {
	if a, err := netip.ParseAddr(address); err == nil && port > 0 {
		return netip.AddrPortFrom(a, uint16(port)).String() //nolint:gosec // a stored port
	}
	return address
}

// behind is who was behind an alert's addresses, in few words: the first machine
// and the first account.
func behind(who []schemas.Identity) string {
	var machine, account string
	for i := range who {
		machine = cmp.Or(machine, who[i].MAC, who[i].Host)
		account = cmp.Or(account, who[i].User)
	}
	return strings.TrimSpace(account + " " + machine)
}
