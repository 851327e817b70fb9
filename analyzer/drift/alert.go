package drift

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// kindText is how a kind of drift is told to people.
type kindText struct {
	title   string
	level   schemas.Level
	zh      string // of the asset, what was expected, what was seen, and the detail
	en      string
	passive bool // only logs can tell: two of their sightings confirm, silence closes
}

var kinds = map[schemas.DriftKind]kindText{
	schemas.UnlistedDomain:   {"未登记的域名 / Unlisted domain", schemas.Medium, "域名 %[1]s 未列入白名单（%[3]s）", "domain %[1]s is not whitelisted (%[3]s)", false},
	schemas.UnlistedHost:     {"未登记的主机 / Unlisted host", schemas.High, "主机 %[1]s 未列入白名单（%[3]s）", "host %[1]s is not whitelisted (%[3]s)", false},
	schemas.UnlistedPort:     {"未登记的开放端口 / Unlisted open port", schemas.High, "端口 %[1]s 未列入白名单（%[3]s）", "port %[1]s is not whitelisted (%[3]s)", false},
	schemas.UnlistedService:  {"端口上的服务未登记 / Unlisted service", schemas.High, "%[1]s 登记的服务为 %[2]s，实为 %[3]s", "%[1]s is whitelisted for %[2]s, not for %[3]s", false},
	schemas.WhitelistExpired: {"白名单已过期仍在用 / Whitelist entry expired", schemas.Medium, "%[1]s 的白名单已到期（%[2]s），仍在应答（%[3]s）", "the whitelist entry of %[1]s has ended (%[2]s), and it still answers (%[3]s)", false},
	schemas.ListedGone:       {"白名单资产已消失 / Whitelisted asset is gone", schemas.Medium, "白名单条目 %[1]s 应为 %[2]s，现为 %[3]s", "whitelisted %[1]s: expected %[2]s, found %[3]s", false},
	schemas.Zombie:           {"僵尸系统 / Zombie system", schemas.Medium, "%[1]s %[4]s：台账状态 %[2]s，实际 %[3]s", "%[1]s %[4]s: registered as %[2]s, found %[3]s", false},

	schemas.ForeignAddress:    {"双非：本校域名指向外部地址 / Own domain on a foreign address", schemas.Medium, "域名 %[1]s 应在 %[2]s，实在 %[3]s", "domain %[1]s belongs on %[2]s and lies on %[3]s", false},
	schemas.ForeignDomain:     {"双非：外部域名在本校地址 / Foreign domain on an own address", schemas.High, "外部域名 %[4]s 在本校地址 %[1]s 上（%[3]s）", "the foreign domain %[4]s is on %[1]s (%[3]s)", true},
	schemas.UnregisteredMarks: {"双非：外部站点带有本校标识 / Foreign site with own marks", schemas.High, "外部站点 %[1]s 带有单位 %[4]s 的标识（%[3]s）", "the foreign site %[1]s carries the marks of unit %[4]s (%[3]s)", true},

	schemas.ServiceChanged:     {"服务已改变 / Service has changed", schemas.Medium, "%[1]s 的服务由 %[2]s 变为 %[3]s", "service at %[1]s changed from %[2]s to %[3]s", false},
	schemas.ProductChanged:     {"产品已改变 / Product has changed", schemas.Medium, "%[1]s 的产品由 %[2]s 变为 %[3]s", "product at %[1]s changed from %[2]s to %[3]s", false},
	schemas.VersionChanged:     {"版本已改变 / Version has changed", schemas.Low, "%[1]s 的版本由 %[2]s 变为 %[3]s", "version at %[1]s changed from %[2]s to %[3]s", false},
	schemas.CertificateChanged: {"证书已改变 / Certificate has changed", schemas.Medium, "%[1]s 的证书由 %[2]s 变为 %[3]s", "certificate at %[1]s changed from %[2]s to %[3]s", false},

	schemas.Exposed:      {"脆弱暴露 / Weak exposure", schemas.Medium, "%[1]s 存在暴露 %[4]s（%[3]s）", "%[1]s is exposed: %[4]s (%[3]s)", false},
	schemas.DanglingName: {"悬空域名可被接管 / Dangling name", schemas.High, "域名 %[1]s 指向不存在的 %[4]s，可被接管", "%[1]s points to %[4]s, which there is not: it can be taken over", false},
}

// IsAlert says whether people are told of a drift: once it has been confirmed,
// and to its end.
func IsAlert(d *schemas.Drift) bool { return !d.Confirmed.IsZero() }

// ToAlert is the alert of a confirmed drift. It has the drift's id and version,
// so that what happens to the drift happens to the alert.
func ToAlert(d *schemas.Drift, snap *directory.Snapshot) schemas.Alert {
	text := kinds[d.Kind]
	level := cmp.Or(d.Severity, text.level)
	status := schemas.AlertOpen
	if d.Status == schemas.DriftClosed {
		status = schemas.AlertClosed
	}
	asset := plainAsset(d.Asset)
	expected, observed := cmp.Or(d.Expected, "-"), cmp.Or(d.Observed, "-")
	summary := fmt.Sprintf(text.zh+" / "+text.en, asset, expected, observed, d.Detail)
	if u, ok := snap.Unit(d.Unit); ok {
		summary = u.Name + "：" + summary
	}
	return schemas.Alert{
		ID: d.ID, Version: d.Version, Kind: schemas.AlertDrift, Status: status,
		Rule: schemas.Rule{ID: "drift." + string(d.Kind), Title: text.title, Level: level},
		Unit: d.Unit, Host: hostOf(d.Asset), Group: []schemas.GroupValue{{Field: "asset", Value: d.Asset}},
		First: d.First, Last: d.Last, Raised: d.Confirmed, Updated: d.Updated, Received: d.Confirmed, Count: 1,
		Satisfied: []schemas.Satisfied{{Selection: "expected", Field: "asset", Value: expected}, {Selection: "observed", Field: "asset", Value: observed}},
		Summary:   summary, Reason: d.Reason, Partition: d.Partition, Offset: d.Offset,
	}
}

// LateAlert is the alert of a drift that was not handled in time; false for any
// other. It is raised once, and ends with the drift or with a new decision.
func LateAlert(d *schemas.Drift, snap *directory.Snapshot) (schemas.Alert, bool) {
	if d.Due.IsZero() || !slices.ContainsFunc(d.History, func(s schemas.DriftStep) bool { return s.What == "overdue" && !s.At.Before(d.First) }) {
		return schemas.Alert{}, false
	}
	a := ToAlert(d, snap)
	a.ID += "-overdue"
	a.Rule.ID, a.Rule.Title = "drift.overdue", "差异逾期未处置 / Drift is overdue"
	a.Summary = "逾期 / overdue since " + d.Due.UTC().Format("2006-01-02 15:04") + "：" + a.Summary
	if !d.Overdue.IsZero() {
		a.Raised, a.Received = d.Overdue, d.Overdue
	} else if a.Status == schemas.AlertOpen {
		a.Status, a.Reason = schemas.AlertClosed, "decided"
	}
	return a, true
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

// hostOf is the address or name that an asset's key is of.
func hostOf(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	text, _, _ := strings.Cut(rest, "/")
	return text
}
