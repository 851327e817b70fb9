package drift

import (
	"cmp"
	"fmt"
	"strings"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// kindText is how a kind of drift is told to people.
type kindText struct {
	title string
	level schemas.Level
	zh    string // of the asset, what was expected and what was seen
	en    string
}

var kinds = map[schemas.DriftKind]kindText{
	schemas.UnlistedDomain: {"未登记的域名 / Unlisted domain", schemas.Medium, "域名 %[1]s 未列入白名单（%[3]s）", "domain %[1]s is not whitelisted (%[3]s)"},
	schemas.UnlistedHost:   {"未登记的主机 / Unlisted host", schemas.High, "主机 %[1]s 未列入白名单（%[3]s）", "host %[1]s is not whitelisted (%[3]s)"},
	schemas.UnlistedPort:   {"未登记的开放端口 / Unlisted open port", schemas.High, "端口 %[1]s 未列入白名单（%[3]s）", "port %[1]s is not whitelisted (%[3]s)"},
	schemas.ListedGone:     {"白名单资产已消失 / Whitelisted asset is gone", schemas.Medium, "白名单条目 %[1]s 应为 %[2]s，现为 %[3]s", "whitelisted %[1]s: expected %[2]s, found %[3]s"},
	schemas.ServiceChanged: {"服务已改变 / Service has changed", schemas.Medium, "%[1]s 的服务由 %[2]s 变为 %[3]s", "service at %[1]s changed from %[2]s to %[3]s"},
}

// IsAlert says whether people are told of a drift: once it has been confirmed,
// and to its end.
func IsAlert(d *schemas.Drift) bool { return !d.Confirmed.IsZero() }

// ToAlert is the alert of a confirmed drift. It has the drift's id and version,
// so that what happens to the drift happens to the alert.
func ToAlert(d *schemas.Drift, snap *directory.Snapshot) schemas.Alert {
	text := kinds[d.Kind]
	status := schemas.AlertOpen
	if d.Status == schemas.DriftClosed {
		status = schemas.AlertClosed
	}
	asset := plainAsset(d.Asset)
	expected, observed := cmp.Or(d.Expected, "-"), cmp.Or(d.Observed, "-")
	summary := fmt.Sprintf(text.zh+" / "+text.en, asset, expected, observed)
	if u, ok := snap.Unit(d.Unit); ok {
		summary = u.Name + "：" + summary
	}
	return schemas.Alert{
		ID: d.ID, Version: d.Version, Kind: schemas.AlertDrift, Status: status,
		Rule: schemas.Rule{ID: "drift." + string(d.Kind), Title: text.title, Level: text.level},
		Unit: d.Unit, Host: host(d.Asset), Group: []schemas.GroupValue{{Field: "asset", Value: d.Asset}},
		First: d.First, Last: d.Last, Raised: d.Confirmed, Updated: d.Updated, Received: d.Confirmed, Count: 1,
		Satisfied: []schemas.Satisfied{{Selection: "expected", Field: "asset", Value: expected}, {Selection: "observed", Field: "asset", Value: observed}},
		Summary:   summary, Reason: d.Reason, Partition: d.Partition, Offset: d.Offset,
	}
}

// plainAsset is an asset's key as people write it: "192.0.2.1 80/tcp".
func plainAsset(key string) string {
	parts := strings.Split(key, "/")
	switch {
	case len(parts) == 4 && parts[0] == "service": // service/IP/tcp/80
		return parts[1] + " " + parts[3] + "/" + parts[2]
	case len(parts) == 5: // port/IP/32/tcp/80
		return parts[1] + " " + parts[4] + "/" + cmp.Or(parts[3], "tcp")
	case len(parts) >= 2:
		return parts[1]
	}
	return key
}

// host is the address or name that an asset's key is of.
func host(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	text, _, _ := strings.Cut(rest, "/")
	return text
}
