package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Rules knows people's rules; *alert.Rules does. All methods ask the policy themselves.
type Rules interface {
	// Create makes a rule of p's and fills in what is not p's to say.
	Create(ctx context.Context, p auth.Principal, draft *telemetry.Rule) error
	// Change changes one; change sets SensorID to zero when it names a sensor, or none.
	Change(ctx context.Context, p auth.Principal, id string, change func(*telemetry.Rule)) (telemetry.Rule, error)
	// Delete deletes one.
	Delete(ctx context.Context, p auth.Principal, id string) error
	// Show returns one.
	Show(ctx context.Context, p auth.Principal, id string) (telemetry.Rule, error)
	// List returns a page of p's rules, oldest first.
	List(ctx context.Context, p auth.Principal, q telemetry.RuleQuery) ([]telemetry.Rule, error)
	// Preview tells what a rule would have done.
	Preview(ctx context.Context, p auth.Principal, draft *telemetry.Rule) (telemetry.RulePreview, error)
}

// ruleRoutes are those of one's own rules. They take a session: what rings at night is for its owner to say.
func (a *API) ruleRoutes() {
	const rules, one = base + "/rules", base + "/rules/{rule_id}"
	handle(a, huma.Operation{
		OperationID: "create-rule", Method: http.MethodPost, Path: rules, Tags: []string{tagAlerts},
		Summary: "Say what must not be measured",
		Description: "The rule judges the readings of a sensor one owns or manages, or of all of those with a tag, from the next one on. What it finds is an alert of the sensor, " +
			"told to its owner and seen by all who may view it.",
		Security: person(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, a.createRule)
	handle(a, huma.Operation{
		OperationID: "preview-rule", Method: http.MethodPost, Path: rules + "/preview", Tags: []string{tagAlerts},
		Summary:     "Try a rule on the last seven days",
		Description: "Tells when it would have opened alerts, within two seconds, and whether that was enough to look at everything. Nothing is stored.",
		Security:    person(), Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable}, Metadata: unaudited("it changes nothing"),
	}, a.previewRule)
	handle(a, huma.Operation{
		OperationID: "list-rules", Method: http.MethodGet, Path: rules, Tags: []string{tagAlerts},
		Summary:     "List one's rules",
		Description: "In the order they were made; there are at most 200.",
		Security:    person(),
	}, a.listRules)
	handle(a, huma.Operation{
		OperationID: "get-rule", Method: http.MethodGet, Path: one, Tags: []string{tagAlerts},
		Summary:  "Show a rule",
		Security: person(),
	}, a.showRule)
	handle(a, huma.Operation{
		OperationID: "update-rule", Method: http.MethodPatch, Path: one, Tags: []string{tagAlerts},
		Summary: "Change a rule",
		Description: "Absent fields stay as they are, null resets a field. When it watches for something else then, or is turned on or off, it begins anew, and its open " +
			"alerts are resolved.",
		Security: person(),
	}, a.updateRule)
	handle(a, huma.Operation{
		OperationID: "delete-rule", Method: http.MethodDelete, Path: one, Tags: []string{tagAlerts},
		Summary:     "Delete a rule",
		Description: "Its open alerts are resolved within a second.",
		Security:    person(),
	}, a.deleteRule)
}

type ruleDraft struct {
	Name       string             `json:"name" doc:"What is wrong when it holds; alerts begin with it. 1 to 100 characters"`
	Serial     string             `json:"serial_no,omitempty" doc:"Of the sensor; or a tag"`
	Tag        string             `json:"tag,omitempty" doc:"All sensors one owns or manages that have it, now and later"`
	Metric     string             `json:"metric,omitempty" doc:"Name of a metric; a.b is b in the object a"`
	Op         string             `json:"op,omitempty" enum:">,>=,<,<=,==,!="`
	Value      *float64           `json:"value,omitempty"`
	Expression string             `json:"expression,omitempty" doc:"In place of metric, op and value: true when something is wrong, such as data.temperature > 30 and hour >= 22"`
	ForSeconds int64              `json:"for_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long it must hold"`
	Clear      *float64           `json:"clear_value,omitempty" nullable:"true" doc:"The alert is over once the comparison with this does not hold either; null: with value"`
	Severity   telemetry.Severity `json:"severity,omitempty" enum:"info,warning,critical" default:"warning"`
	Enabled    *bool              `json:"enabled,omitempty" default:"true"`
}

func (d *ruleDraft) rule() *telemetry.Rule {
	return &telemetry.Rule{
		Name: d.Name, Serial: d.Serial, Tag: d.Tag, Metric: d.Metric, Op: d.Op, Value: d.Value, Expression: d.Expression,
		For: time.Duration(d.ForSeconds) * time.Second, Clear: d.Clear, Severity: d.Severity, Enabled: d.Enabled == nil || *d.Enabled,
	}
}

// personRule is a rule as its maker sees it.
type personRule struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Serial     *string            `json:"serial_no"`
	Tag        *string            `json:"tag"`
	Metric     *string            `json:"metric"`
	Op         *string            `json:"op"`
	Value      *float64           `json:"value"`
	Expression *string            `json:"expression"`
	ForSeconds int64              `json:"for_seconds"`
	Clear      *float64           `json:"clear_value"`
	Severity   telemetry.Severity `json:"severity" enum:"info,warning,critical"`
	Enabled    bool               `json:"enabled"`
	CreatedAt  Timestamp          `json:"created_at"`
	UpdatedAt  Timestamp          `json:"updated_at"`
}

func ruleOf(r telemetry.Rule) personRule {
	return personRule{
		ID:         r.ID,
		Name:       r.Name,
		Serial:     nullable(r.Serial),
		Tag:        nullable(r.Tag),
		Metric:     nullable(r.Metric),
		Op:         nullable(r.Op),
		Value:      r.Value,
		Expression: nullable(r.Expression),
		ForSeconds: int64(r.For / time.Second),
		Clear:      r.Clear,
		Severity:   r.Severity,
		Enabled:    r.Enabled,
		CreatedAt:  Timestamp(r.CreatedAt),
		UpdatedAt:  Timestamp(r.UpdatedAt),
	}
}

type ruleOutput struct{ Body personRule }

func (a *API) createRule(ctx context.Context, in *struct{ Body ruleDraft }) (*ruleOutput, error) {
	r := in.Body.rule()
	if err := a.deps.Rules.Create(ctx, principal(ctx), r); err != nil {
		return nil, err
	}
	return &ruleOutput{Body: ruleOf(*r)}, nil
}

type rulePage struct {
	Items []personRule `json:"items" nullable:"false"`
	Next  *string      `json:"next_cursor" doc:"null at the end"`
}

type rulesInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

func (a *API) listRules(ctx context.Context, in *rulesInput) (*struct{ Body rulePage }, error) {
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Rules.List(ctx, principal(ctx), telemetry.RuleQuery{Beyond: at.seq, Limit: in.Limit + 1}) // as in listAlerts
	if err != nil {
		return nil, err
	}
	var page rulePage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(position{seq: found[in.Limit-1].Order}.cursor())
	}
	page.Items = make([]personRule, len(found))
	for i, r := range found {
		page.Items[i] = ruleOf(r)
	}
	return &struct{ Body rulePage }{page}, nil
}

type ruleInput struct {
	ID string `path:"rule_id" maxLength:"64"`
}

func (a *API) showRule(ctx context.Context, in *ruleInput) (*ruleOutput, error) {
	r, err := a.deps.Rules.Show(ctx, principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &ruleOutput{Body: ruleOf(r)}, nil
}

func (a *API) deleteRule(ctx context.Context, in *ruleInput) (*struct{}, error) {
	return nil, a.deps.Rules.Delete(ctx, principal(ctx), in.ID)
}

type ruleChange struct {
	Name       change[string]             `json:"name,omitzero"`
	Serial     change[string]             `json:"serial_no,omitzero"`
	Tag        change[string]             `json:"tag,omitzero"`
	Metric     change[string]             `json:"metric,omitzero"`
	Op         change[string]             `json:"op,omitzero"`
	Value      change[*float64]           `json:"value,omitzero"`
	Expression change[string]             `json:"expression,omitzero"`
	ForSeconds change[int64]              `json:"for_seconds,omitzero" minimum:"0" maximum:"604800"`
	Clear      change[*float64]           `json:"clear_value,omitzero"`
	Severity   change[telemetry.Severity] `json:"severity,omitzero" enum:"info,warning,critical"`
	Enabled    change[bool]               `json:"enabled,omitzero"`
}

func (c *ruleChange) apply(r *telemetry.Rule) {
	c.Name.apply(&r.Name)
	if c.Serial.given {
		r.Serial, r.SensorID = c.Serial.value, 0
	}
	c.Tag.apply(&r.Tag)
	c.Metric.apply(&r.Metric)
	c.Op.apply(&r.Op)
	c.Value.apply(&r.Value)
	c.Expression.apply(&r.Expression)
	if c.ForSeconds.given {
		r.For = time.Duration(c.ForSeconds.value) * time.Second
	}
	c.Clear.apply(&r.Clear)
	if c.Severity.apply(&r.Severity); r.Severity == "" {
		r.Severity = telemetry.SeverityWarning
	}
	c.Enabled.apply(&r.Enabled)
}

type ruleChangeInput struct {
	ID   string `path:"rule_id" maxLength:"64"`
	Body ruleChange
}

func (a *API) updateRule(ctx context.Context, in *ruleChangeInput) (*ruleOutput, error) {
	r, err := a.deps.Rules.Change(ctx, principal(ctx), in.ID, in.Body.apply)
	if err != nil {
		return nil, err
	}
	return &ruleOutput{Body: ruleOf(r)}, nil
}

// ruleFiring is an alert that would have been.
type ruleFiring struct {
	Serial string    `json:"serial_no"`
	From   Timestamp `json:"from"`
	To     Timestamp `json:"to" nullable:"true" doc:"null: it would be open now"`
}

type rulePreview struct {
	From      Timestamp    `json:"from" doc:"What came before was not looked at"`
	Fired     int          `json:"fired" doc:"Alerts it would have opened"`
	Times     []ruleFiring `json:"times" nullable:"false" doc:"The first 100"`
	Sensors   int          `json:"sensors" doc:"It would judge"`
	Readings  int          `json:"readings" doc:"Looked at"`
	Truncated bool         `json:"truncated" doc:"There is more than could be looked at"`
}

func (a *API) previewRule(ctx context.Context, in *struct{ Body ruleDraft }) (*struct{ Body rulePreview }, error) {
	p, err := a.deps.Rules.Preview(ctx, principal(ctx), in.Body.rule())
	if err != nil {
		return nil, err
	}
	shown := rulePreview{
		From: Timestamp(p.From), Fired: p.Fired, Sensors: p.Sensors, Readings: p.Readings, Truncated: p.Truncated, Times: make([]ruleFiring, len(p.Times)),
	}
	for i, t := range p.Times {
		shown.Times[i] = ruleFiring{Serial: t.Serial, From: Timestamp(t.From), To: Timestamp(t.To)}
	}
	return &struct{ Body rulePreview }{shown}, nil
}
