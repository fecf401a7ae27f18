package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/audit"
	"sensorcast/auth"
)

const unauditedKey = "unaudited"

// unaudited is the Metadata of an operation that changes something and leaves no entry in the audit trail, because of the reason. Every other
// one that changes something leaves one under its operation id: being forgotten must not mean being unseen.
func unaudited(reason string) map[string]any { return map[string]any{unauditedKey: reason} }

// isAudited reports whether the operation leaves an entry. It panics when one gives no reason for leaving none.
func isAudited(op *huma.Operation) bool {
	reason, exempt := op.Metadata[unauditedKey]
	if exempt && reason == "" {
		panic("api: operation " + op.OperationID + " does not say why it is not audited")
	}
	return !exempt && op.Method != http.MethodGet && op.Method != http.MethodHead
}

// witness notes in the exchange, before the operation's handler runs and may take it away, what the request is about. What it returns is
// called with the handler's result, and has the trail say so before the answer leaves. In between the handler may add to deedOf what only it knows.
func (a *API) witness(ctx context.Context, op *huma.Operation, in any) func(error) {
	if a.deps.Audit == nil || !isAudited(op) {
		return func(error) {}
	}
	deed := deedOf(ctx)
	*deed = a.deed(ctx, op.OperationID)
	if op.Method == http.MethodPatch {
		deed.Detail = map[string]any{"fields": given(in)}
	}
	return func(err error) { a.tell(ctx, *deed, err) }
}

// deed begins an entry about what the path names.
func (a *API) deed(ctx context.Context, action string) audit.Entry {
	x := exchangeOf(ctx)
	e := audit.By(principal(ctx), action)
	if x.shell {
		e.Via = audit.Shell
	}
	if x.remote.IsValid() {
		e.Address = x.remote.String()
	}
	if dev, known := a.deps.Directory.Lookup(x.pathValue("serial_no")); known {
		e.Sensor = audit.Of(dev)
	}
	if name := x.pathValue("username"); name != "" {
		e.Account = a.account(ctx, name)
	}
	return e
}

// deedOf is the entry that ctx's request will leave, for its handler to complete; without an Action it leaves none, where it turned out that
// nothing is changed. Outside any, and where none is left, it is lost.
func deedOf(ctx context.Context) *audit.Entry { return &exchangeOf(ctx).deed }

// tell writes e down when its outcome is worth it.
func (a *API) tell(ctx context.Context, e audit.Entry, err error) {
	if outcome, worth := audit.Judge(err); worth && e.Action != "" {
		e.Outcome = outcome
		a.deps.Audit.Record(ctx, e)
	}
}

// account names the account of that login, if there is one. What was typed in its place is not kept: people type passwords there.
func (a *API) account(ctx context.Context, login string) audit.Account {
	u, err := a.deps.Auth.Account(ctx, login)
	if err != nil {
		return audit.Account{}
	}
	return accountOf(u)
}

func accountOf(u auth.User) audit.Account { return audit.Account{ID: u.ID, Name: u.Username} }

// tellReuse notes that a refresh token came again, which ended somebody's session.
func (a *API) tellReuse(ctx context.Context, action string, err error) {
	reused, ok := errors.AsType[*auth.ReusedError](err)
	if !ok || a.deps.Audit == nil {
		return
	}
	e := a.deed(ctx, action)
	e.Account.ID = reused.UserID
	if u, err := a.deps.Auth.Me(ctx, auth.Principal{Kind: auth.Person, UserID: reused.UserID}); err == nil {
		e.Account = accountOf(u)
	}
	e.Detail = map[string]any{"reason": "refresh token used before"}
	a.tell(ctx, e, err)
}

// given names the fields of the body that the client sent, as it spelled them. It looks at no value.
func given(in any) []string {
	names := []string{}
	body := reflect.Indirect(reflect.Indirect(reflect.ValueOf(in)).FieldByName("Body"))
	if body.Kind() != reflect.Struct {
		return names
	}
	for i := range body.NumField() {
		if !body.Field(i).IsZero() {
			name, _, _ := strings.Cut(body.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
