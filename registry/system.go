package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/uptrace/bun"

	"fengsui/schemas"
)

// DataClass is how much would be lost with a system's data (数据分类分级).
type DataClass string

// The classes of data.
const (
	DataGeneral   DataClass = "general"
	DataImportant DataClass = "important"
	DataCore      DataClass = "core"
)

// System is an information system with all that is registered of it. What is
// not of schemas.System never leaves the registry.
type System struct {
	schemas.System `yaml:",inline"`
	Filing         string    `json:"filing,omitempty" yaml:"filing,omitempty"` // number of the classified-protection filing (等级保护备案证明编号)
	Data           DataClass `json:"data,omitempty" yaml:"data,omitempty"`
	People         int64     `json:"people,omitempty" yaml:"people,omitempty"` // of how many persons it holds personal information
	Vendor         string    `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Responsible    Person    `json:"responsible,omitzero" yaml:"responsible,omitempty"`
	Note           string    `json:"note,omitempty" yaml:"note,omitempty"`
}

// next is what may follow each state. Nothing is before the first: an inventory
// may hold a system in any.
var next = map[schemas.SystemState][]schemas.SystemState{
	schemas.SystemApplied:    {schemas.SystemRegistered, schemas.SystemRetired},
	schemas.SystemRegistered: {schemas.SystemChanged, schemas.SystemSuspended, schemas.SystemRetired},
	schemas.SystemChanged:    {schemas.SystemRegistered, schemas.SystemSuspended, schemas.SystemRetired},
	schemas.SystemSuspended:  {schemas.SystemRegistered, schemas.SystemRetired},
	schemas.SystemRetired:    {schemas.SystemApplied},
}

// NextStates is what may follow a state, or nil if there is no such state.
func NextStates(s schemas.SystemState) []schemas.SystemState { return next[s] }

// maxEndpoints bounds the names, addresses and ports of one system, each.
const maxEndpoints = 1000

func normaliseSystem(s *System) error {
	for _, text := range []*string{&s.Code, &s.Name, &s.Unit, &s.Filing, &s.ICP, &s.Vendor, &s.Note} {
		*text = strings.TrimSpace(*text)
		if len(*text) > 4096 || strings.ContainsFunc(*text, unicode.IsControl) {
			return bad("", "a text is longer than 4096 bytes or holds control characters", "某项文字过长，或含控制字符")
		}
	}
	s.State = cmp.Or(s.State, schemas.SystemRegistered)
	s.Hosting = cmp.Or(s.Hosting, schemas.HostingOwn)
	switch {
	case !isCode(s.Code):
		return bad("code", "code is missing, or has more than 64 bytes, a space or a slash", "缺少系统代码，或超过 64 字节，或含空格、斜杠")
	case s.Name == "":
		return bad("name", "name is missing", "缺少系统名称")
	case s.Unit == "":
		return bad("unit", "unit is missing", "缺少单位代码")
	case next[s.State] == nil:
		return bad("state", "state %q is none of applied, registered, changed, suspended, retired", "状态 %q 不是申请、登记、变更、暂停、注销之一", s.State)
	case s.Level < 0 || s.Level > 5:
		return bad("level", "level %d is not between 1 and 5", "级别 %d 不在 1 至 5 之间", s.Level)
	case s.People < 0:
		return bad("people", "people is below 0", "人数小于 0")
	}
	switch s.Hosting {
	case schemas.HostingOwn, schemas.HostingEducationCloud, schemas.HostingPublicCloud:
	default:
		return bad("hosting", "hosting %q is none of own, education_cloud, public_cloud", "部署方式 %q 不是自建、教育云、公有云之一", s.Hosting)
	}
	switch s.Data {
	case "", DataGeneral, DataImportant, DataCore:
	default:
		return bad("data", "data %q is none of general, important, core", "数据分级 %q 不是一般、重要、核心之一", s.Data)
	}
	if err := normalisePerson(&s.Responsible); err != nil {
		return responsibleColumn(err)
	}
	return normaliseEndpoints(&s.System)
}

// responsibleColumn says that it is the responsible person's, whose name has a
// column of another name than a contact's.
func responsibleColumn(err error) error {
	var w wrong
	if !errors.As(err, &w) {
		return err
	}
	column := map[string]string{"name": "responsible"}[w.column]
	return wrong{cmp.Or(column, w.column), "responsible: " + w.en, "负责人：" + w.zh}
}

func normaliseEndpoints(s *schemas.System) error {
	if max(len(s.Domains), len(s.Addresses), len(s.Ports)) > maxEndpoints {
		return bad("", "has more than %d domains, addresses or ports", "域名、地址或端口多于 %d 个", maxEndpoints)
	}
	for i, name := range s.Domains {
		s.Domains[i] = normalName(name)
		if err := checkName("domains", strings.TrimPrefix(s.Domains[i], "*.")); err != nil {
			return err
		}
	}
	for i, p := range s.Addresses {
		if !p.IsValid() {
			return bad("addresses", "an address is invalid", "地址无效")
		}
		s.Addresses[i] = normalPrefix(p)
	}
	for i, p := range s.Ports {
		if err := s.Ports[i].UnmarshalText([]byte(p.String())); err != nil {
			return bad("ports", "%v", "端口无效：%v", err)
		}
	}
	slices.Sort(s.Domains)
	s.Domains = slices.Compact(s.Domains)
	slices.SortFunc(s.Addresses, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	s.Addresses = slices.Compact(s.Addresses)
	slices.SortFunc(s.Ports, func(a, b schemas.PortName) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Transport, b.Transport))
	})
	s.Ports = slices.Compact(s.Ports)
	return nil
}

// checkSystems checks that each system in c may go to its state from the one it
// is in, and that the systems which c names are there and of the same unit.
func checkSystems(ctx context.Context, db bun.IDB, c *Content) error {
	there, err := systemsNamed(ctx, db, c)
	if err != nil {
		return err
	}
	var p problems
	for i := range c.Systems {
		s := &c.Systems[i]
		if before, ok := there[s.Code]; ok && before.State != s.State && !slices.Contains(next[before.State], s.State) {
			p.at(c, "systems", i, "system "+s.Code, bad("state", "is %s, and cannot be %s next", "现状态 %s 不能流转为 %s", before.State, s.State))
		}
		there[s.Code] = *s
	}
	for i := range c.Whitelist {
		w := &c.Whitelist[i]
		if w.System == "" {
			continue
		}
		if s, ok := there[w.System]; !ok {
			p.at(c, "whitelist", i, "whitelist entry "+w.Key(), bad("system", "system %q is not in the registry", "台账中没有信息系统 %q", w.System))
		} else if s.Unit != w.Unit {
			p.at(c, "whitelist", i, "whitelist entry "+w.Key(), bad("system", "system %q is of unit %s, not %s", "信息系统 %q 属于单位 %s，不是 %s", w.System, s.Unit, w.Unit))
		}
	}
	if err := p.err(); err != nil {
		return classified{err, ErrInvalid}
	}
	return nil
}

// systemsNamed are the systems that c holds or names, as they are now.
func systemsNamed(ctx context.Context, db bun.IDB, c *Content) (map[string]System, error) {
	var keys []string
	for i := range c.Systems {
		keys = append(keys, "system/"+c.Systems[i].Code)
	}
	for i := range c.Whitelist {
		if c.Whitelist[i].System != "" {
			keys = append(keys, "system/"+c.Whitelist[i].System)
		}
	}
	slices.Sort(keys)
	values, err := valuesOf(ctx, db, slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	out := make(map[string]System, len(values))
	for key, value := range values {
		var s stored
		if err := json.Unmarshal([]byte(value), &s); err != nil || s.System == nil {
			return nil, fmt.Errorf("record %s is no system: %w", key, err)
		}
		out[s.System.Code] = *s.System
	}
	return out, nil
}

// checkMoved refuses that a system went to another unit and left what is said of
// it behind. It is called when everything is written.
func checkMoved(ctx context.Context, db bun.IDB, c *Content) error {
	var p problems
	for i := range c.Systems {
		s := &c.Systems[i]
		left, err := db.NewSelect().Model((*recordRow)(nil)).Where("system = ?", s.Code).Where("unit <> ?", s.Unit).Count(ctx)
		if err != nil {
			return err
		}
		if left > 0 {
			p.at(c, "systems", i, "system "+s.Code, bad("unit", "%d whitelist entries of it are of another unit: change them with it", "白名单中还有它的 %d 条属于其他单位，须一并修改", left))
		}
	}
	if err := p.err(); err != nil {
		return classified{err, ErrInvalid}
	}
	return nil
}

// System reads one system, or returns an ErrNotFound.
func (r *Registry) System(ctx context.Context, code string) (*System, error) {
	c := &Content{Systems: []System{{System: schemas.System{Code: code}}}}
	there, err := systemsNamed(ctx, r.db, c)
	if err != nil {
		return nil, fmt.Errorf("reading system %s: %w", code, err)
	}
	s, ok := there[code]
	if !ok {
		return nil, classified{fmt.Errorf("system %s is not in the registry", code), ErrNotFound}
	}
	return &s, nil
}
