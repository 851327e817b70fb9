package search

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"fengsui/internal/clickhouse"
	"fengsui/internal/query"
)

// Found is an asset as a search shows it.
type Found struct {
	Key         string     `json:"key"`
	Kind        string     `json:"kind"`
	IP          netip.Addr `json:"ip,omitzero"`
	Port        uint16     `json:"port,omitempty"`
	Transport   string     `json:"transport,omitempty"`
	Host        []string   `json:"host,omitempty" doc:"names that lead to it"`
	Protocol    string     `json:"protocol,omitempty"`
	Product     string     `json:"product,omitempty"`
	Version     string     `json:"version,omitempty" doc:"of the product"`
	OS          string     `json:"os,omitempty"`
	Server      string     `json:"server,omitempty"`
	App         []string   `json:"app,omitempty"`
	Status      uint16     `json:"status,omitempty"`
	Title       string     `json:"title,omitempty"`
	IconHash    string     `json:"icon_hash,omitempty"`
	Unit        string     `json:"unit,omitempty"`
	UnitName    string     `json:"unit_name,omitempty"`
	City        string     `json:"city,omitempty"`
	County      string     `json:"county,omitempty"`
	School      string     `json:"school,omitempty"`
	System      string     `json:"system,omitempty"`
	Level       uint8      `json:"level,omitempty" doc:"of classified protection"`
	Registered  bool       `json:"registered"`
	Whitelisted bool       `json:"whitelisted"`
	Drift       []string   `json:"drift,omitempty"`
	Exposure    []string   `json:"exposure,omitempty"`
	Alive       bool       `json:"alive"`
	First       time.Time  `json:"first"`
	Last        time.Time  `json:"last"`

	// Long ones, where they were asked for.
	Banner string   `json:"banner,omitempty"`
	Cert   []string `json:"cert,omitempty"`
	Header string   `json:"header,omitempty"`
	Body   string   `json:"body,omitempty"`

	name string // the last column of the order
}

// Long are the fields that a search gives only where they are asked for.
var Long = []string{"banner", "cert", "header", "body"}

// shortColumns in the order that scan reads them in; Long follow.
var shortColumns = []string{
	"key", "kind", "ip", "port", "transport", "name", "host", "protocol", "product", "release", "os", "server", "app", "status", "title", "icon_hash",
	"unit", "unit_in", "city", "county", "school", "system", "level", "registered", "whitelisted", "drift", "exposure", "alive", "first", "last",
}

// MaxExport bounds the rows of a file.
const MaxExport = 100_000

// AssetQuery asks for assets.
type AssetQuery struct {
	Text  string    // in the search language; empty is everything
	Units []string  // only of these units; nil is every unit, empty is none
	Now   time.Time // what ages in Text are counted back from
	Limit int       // rows, 1 to MaxExport
	After string    // the Next of the page before
	Long  []string  // which of Long to give
}

// AssetPage is a page of a search.
type AssetPage struct {
	Items []Found
	Next  string // After of the next page; empty when this is the last
}

// Check says what is wrong with the query's text.
func (q *AssetQuery) Check() error {
	_, err := q.where()
	return err
}

// where is the condition of a query, within what its asker may see.
func (q *AssetQuery) where() (query.Condition, error) {
	c, err := query.Compile(q.Text, assetSyntax{}, q.Now)
	if err != nil {
		return c, err
	}
	c.SQL = "(" + c.SQL + ")"
	if q.Units != nil {
		c.SQL += " AND unit IN {units:Array(String)}"
		c.Params["units"] = arrayOf(q.Units)
	}
	return c, nil
}

const order = " ORDER BY ip, port, transport, name"

// FindAssets returns a page of the assets that meet a condition, by address.
func FindAssets(ctx context.Context, db *clickhouse.DB, q AssetQuery) (AssetPage, error) {
	page := AssetPage{Items: []Found{}}
	if q.Limit < 1 || q.Limit > MaxLimit {
		return page, fmt.Errorf("limit %d is not between 1 and %d", q.Limit, MaxLimit)
	}
	limit := q.Limit
	q.Limit++ // one more, which says that there is a next page
	err := EachAsset(ctx, db, q, func(f *Found) error {
		if len(page.Items) == limit {
			page.Next = cursorOf(&page.Items[limit-1])
			return nil
		}
		page.Items = append(page.Items, *f)
		return nil
	})
	return page, err
}

// The bounds of the places whose rows are read at once. They stand in a request's
// address, where each byte may take three: ClickHouse reads a MiB of that
// (http_max_uri_size).
const (
	maxPlaces      = 2048
	maxPlacesBytes = 256 << 10
)

// EachAsset calls f for the assets that meet a condition, by address.
//
// An asset's row may have been followed by one that does not meet it, and FINAL,
// which knows, would merge the whole table. So places are looked for first, in all
// rows, with an index where there is one; then the newest rows of these places are
// asked again, which are found by their key.
func EachAsset(ctx context.Context, db *clickhouse.DB, q AssetQuery, f func(*Found) error) error {
	if q.Limit < 1 || q.Limit > MaxExport+1 {
		return fmt.Errorf("limit %d is not between 1 and %d", q.Limit, MaxExport)
	}
	c, err := q.where()
	if err != nil {
		return err
	}
	from, err := q.from()
	if err != nil {
		return err
	}
	// Some more than are wanted, for those that have been followed.
	for left, rows := q.Limit, q.Limit+q.Limit/16; left > 0; rows *= 2 {
		rows = min(rows, maxPlaces)
		places, more, err := placesOf(ctx, db, c, from, rows)
		if err != nil {
			return fmt.Errorf("searching assets: %w", err)
		}
		n, err := q.newest(ctx, db, c, places, left, f)
		if err != nil {
			return fmt.Errorf("searching assets: %w", err)
		}
		if !more {
			break
		}
		left -= n
		from = &places[len(places)-1]
	}
	return nil
}

// placesOf are the places, after from, of some rows that meet a condition, and
// whether there are more.
func placesOf(ctx context.Context, db *clickhouse.DB, c query.Condition, from *place, limit int) (places []place, more bool, err error) {
	params := maps.Clone(c.Params)
	sql := "SELECT ip, port, transport, name FROM asset_search WHERE " + c.SQL + from.after(params) + order + " LIMIT " + strconv.Itoa(limit)
	rows, size := 0, 0
	err = each(ctx, db, sql, params, nil, func(scan func(...any) error) error {
		var at place
		rows++
		if err := scan(&at.IP, &at.Port, &at.Transport, &at.Name); err != nil {
			return err
		}
		if size += len(at.tuple()); size > maxPlacesBytes && len(places) > 0 { // this one and those after it come next
			return nil
		}
		if len(places) == 0 || at != places[len(places)-1] { // not another row of the same
			places = append(places, at)
		}
		return nil
	})
	return places, rows == limit || size > maxPlacesBytes, err
}

// newest calls f for the newest rows of places that meet a condition, up to a
// limit, and says how many these were.
func (q *AssetQuery) newest(ctx context.Context, db *clickhouse.DB, c query.Condition, places []place, limit int, f func(*Found) error) (n int, err error) {
	if len(places) == 0 {
		return 0, nil
	}
	columns := slices.Clone(shortColumns)
	for _, long := range Long {
		if slices.Contains(q.Long, long) {
			columns = append(columns, long)
		} else {
			columns = append(columns, "'' AS no_"+long)
		}
	}
	params := maps.Clone(c.Params)
	params["places"] = placesParam(places)
	sql := "SELECT " + strings.Join(columns, ", ") + " FROM asset_search FINAL PREWHERE (ip, port, transport, name) IN {places:Array(Tuple(IPv6, UInt16, String, String))} WHERE " +
		c.SQL + order + " LIMIT " + strconv.Itoa(limit)
	byKey := ch.Settings{"use_skip_indexes": 0} // no index knows more than the key
	err = each(ctx, db, sql, params, byKey, func(scan func(...any) error) error {
		var one Found
		if err := one.scan(scan); err != nil {
			return err
		}
		n++
		return f(&one)
	})
	return n, err
}

// each calls f for the rows of an answer.
func each(ctx context.Context, db *clickhouse.DB, sql string, params ch.Parameters, settings ch.Settings, f func(scan func(...any) error) error) (err error) {
	rows, err := db.Query(ch.Context(ctx, ch.WithParameters(params), ch.WithSettings(settings)), sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (f *Found) scan(scan func(...any) error) error {
	var ip netip.Addr
	var host, app, in, city, county, school, system, drift, exposure, cert string
	err := scan(&f.Key, &f.Kind, &ip, &f.Port, &f.Transport, &f.name, &host, &f.Protocol, &f.Product, &f.Version, &f.OS, &f.Server, &app, &f.Status, &f.Title, &f.IconHash,
		&f.Unit, &in, &city, &county, &school, &system, &f.Level, &f.Registered, &f.Whitelisted, &drift, &exposure, &f.Alive, &f.First, &f.Last,
		&f.Banner, &cert, &f.Header, &f.Body)
	if err != nil {
		return err
	}
	if ip != netip.IPv6Unspecified() {
		f.IP = ip.Unmap()
	}
	f.Host, f.App, f.Drift, f.Exposure, f.Cert = linesIn(host), linesIn(app), linesIn(drift), linesIn(exposure), linesIn(cert)
	if units := linesIn(in); len(units) > 1 && units[0] == f.Unit {
		f.UnitName = units[1]
	}
	f.City, f.County, f.School, f.System = firstOf(city), firstOf(county), firstOf(school), firstOf(system)
	return nil
}

// linesIn reads what clickhouse.Lines wrote.
func linesIn(s string) []string {
	if len(s) < 2 {
		return nil
	}
	return strings.Split(s[1:len(s)-1], "\n")
}

func firstOf(s string) string {
	if list := linesIn(s); len(list) > 0 {
		return list[0]
	}
	return ""
}

// place is where an asset lies in the order of all, and its key in the table.
type place struct {
	IP        netip.Addr
	Port      uint16
	Transport string
	Name      string
}

// cursorOf writes the place of a row down so that it can stand in an address.
func cursorOf(f *Found) string {
	text, err := json.Marshal(place{f.IP, f.Port, f.Transport, f.name})
	if err != nil { // cannot happen
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// ErrCursor says that a page was asked for by what no page said.
var ErrCursor = errors.New("after is not what a page has given")

// from is the place after which the page begins; nil is the beginning of all.
func (q *AssetQuery) from() (*place, error) {
	if q.After == "" {
		return nil, nil
	}
	var at place
	text, err := base64.RawURLEncoding.DecodeString(q.After)
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCursor, err)
	}
	return &at, nil
}

// address is the place's address as the table has it.
func (p *place) address() string {
	if !p.IP.IsValid() {
		return in6(netip.IPv6Unspecified())
	}
	return in6(p.IP.WithZone(""))
}

// after is the condition that a row lies behind the place, if it is one.
func (p *place) after(params ch.Parameters) string {
	if p == nil {
		return ""
	}
	params["at_ip"], params["at_port"], params["at_transport"], params["at_name"] = p.address(), strconv.Itoa(int(p.Port)), query.EscapeParam(p.Transport), query.EscapeParam(p.Name)
	return " AND ip >= toIPv6({at_ip:String}) AND (ip, port, transport, name) > (toIPv6({at_ip:String}), {at_port:UInt16}, {at_transport:String}, {at_name:String})"
}

// tuple writes the place as a value of the type Tuple(IPv6, UInt16, String, String).
func (p *place) tuple() string {
	return "('" + p.address() + "'," + strconv.Itoa(int(p.Port)) + "," + quoted(p.Transport) + "," + quoted(p.Name) + ")"
}

// placesParam writes places as an Array of such.
func placesParam(places []place) string {
	tuples := make([]string, len(places))
	for i := range places {
		tuples[i] = places[i].tuple()
	}
	return "[" + strings.Join(tuples, ",") + "]"
}

// Bucket is how many assets have a value.
type Bucket struct {
	Value string `json:"value"`
	Count uint64 `json:"count"`
}

// Aggregation is the values of a field among the assets that meet a condition,
// the most frequent first.
type Aggregation struct {
	Total   uint64   `json:"total" doc:"assets that meet the condition"`
	Values  uint64   `json:"values" doc:"how many different values there are; of a list each of its own"`
	Buckets []Bucket `json:"buckets" nullable:"false"`
}

// MaxBuckets bounds the values of an aggregation.
const MaxBuckets = 1000

// countSettings: no index knows the ids of what was written since, so their set is
// not sorted for one, which would take longer than all else. A question that must
// read everything may.
var countSettings = ch.Settings{"optimize_move_to_prewhere_if_final": 1, "use_index_for_in_with_subqueries": 0, "max_bytes_before_external_group_by": 512 << 20}

// counted counts the newest row of every asset by a value. FINAL would merge the
// whole table; so the largest part is read as it is, but for the assets that other
// parts hold too, and only those parts are merged. A part holds an asset once, and
// what the others hold was written later, with a version that is no lower. When
// another merge takes the part away meanwhile, no row is in it, and all are read
// with FINAL: slower, and the same. Both halves see the table as of one moment
// (enable_shared_storage_snapshot_in_query).
func counted(part, value, where string) string {
	count := func(n, rows string) string {
		return "SELECT " + value + " AS value, " + n + " AS n FROM asset_search" + rows + where + " GROUP BY value"
	}
	if part == "" {
		return count("count()", " FINAL WHERE ")
	}
	// What counts is counted, since to leave the others out copies all values.
	newest := count("countIf(id GLOBAL NOT IN (SELECT id FROM asset_search WHERE _part != {part:String}))", " WHERE _part = {part:String} AND ")
	return "(" + newest + " HAVING n > 0) UNION ALL (" + count("count()", " FINAL WHERE _part != {part:String} AND ") + ")"
}

// CountAssets counts the assets that meet a condition by a field; q.Limit is how
// many values are given. With no field it only counts.
func CountAssets(ctx context.Context, db *clickhouse.DB, q AssetQuery, by string) (out Aggregation, err error) {
	out.Buckets = []Bucket{}
	if q.Limit < 1 || q.Limit > MaxBuckets {
		return out, fmt.Errorf("limit %d is not between 1 and %d", q.Limit, MaxBuckets)
	}
	value, list := "''", false
	if by != "" {
		f, err := AssetFieldNamed(by)
		if err != nil {
			return out, err
		}
		value, list = f.grouping(q.Now)
	}
	c, err := q.where()
	if err != nil {
		return out, err
	}
	part, err := db.SearchPart(ctx)
	if err != nil {
		return out, err
	}
	c.Params["part"] = part
	// Counted by the column's own value first, which is one of a dictionary where
	// there are few; what a value's list holds is told apart afterwards.
	sql := "SELECT value, sum(n) AS m FROM (" + counted(part, value, c.SQL) + ") GROUP BY value"
	switch {
	case by == "":
		sql = "SELECT '', m, m, toUInt64(0) FROM (" + sql + ")"
	case list:
		sql = "SELECT v, sum(m) AS k, any(total), count() OVER () FROM (SELECT arrayJoin(splitByChar('\\n', if(value = '', '', substring(value, 2, length(value) - 2)))) AS v, m, total FROM (SELECT value, m, sum(m) OVER () AS total FROM (" + sql + "))) GROUP BY v ORDER BY k DESC, v LIMIT " + strconv.Itoa(q.Limit)
	default:
		sql = "SELECT toString(value), m, sum(m) OVER (), count() OVER () FROM (" + sql + ") ORDER BY m DESC, value LIMIT " + strconv.Itoa(q.Limit)
	}
	err = each(ctx, db, sql, c.Params, countSettings, func(scan func(...any) error) error {
		var b Bucket
		if err := scan(&b.Value, &b.Count, &out.Total, &out.Values); err != nil {
			return err
		}
		if by == "" {
			return nil
		}
		if !list && strings.HasPrefix(b.Value, "\n") { // a place, a school or a system
			b.Value = firstOf(b.Value)
		}
		out.Buckets = append(out.Buckets, b)
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("counting assets: %w", err)
	}
	return out, nil
}

// grouping is the SQL of what a field is counted by, and whether its values are
// lists. Of a place, a school or a system the first line is its name; a unit is
// counted by its own code; a time by its day where now is, as a query reads days.
func (f *AssetField) grouping(now time.Time) (sql string, list bool) {
	switch {
	case f.Name == "unit":
		return "unit", false
	case f.Name == "city" || f.Name == "county" || f.Name == "school" || f.Name == "system":
		return f.column, false
	case f.group != "":
		return f.group, f.Type == typeList
	case f.Type == typeList:
		return f.column, true
	case f.Type == typeTime:
		_, offset := now.Zone()
		return "toString(toDate(addSeconds(" + f.column + ", " + strconv.Itoa(offset) + ")))", false
	case f.Type == typeBool:
		return "if(" + f.column + ", 'true', 'false')", false
	}
	return f.column, false
}
