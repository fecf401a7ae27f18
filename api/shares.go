package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// Sharing keeps with whom sensors are shared. The mistakes of its callers are those of the field username.
type Sharing interface {
	// Share lets the person of that user name see the sensor or manage it, or changes what they may. telemetry.ErrNotFound when the name is
	// nobody's, or the sensor is gone; telemetry.ErrInvalid when it is the owner's; telemetry.ErrConflict beyond auth.MaxShares.
	Share(ctx context.Context, sensorID int64, username string, access auth.Access) (auth.Shared, error)
	// Unshare ends a share and returns whose it was. telemetry.ErrNotFound.
	Unshare(ctx context.Context, sensorID int64, username string) (userID int64, err error)
	// Shares returns all shares of the sensor, by user name.
	Shares(ctx context.Context, sensorID int64) ([]auth.Shared, error)
}

const sharePath = sensorPath + "/shares/{username}"

func (a *API) shareRoutes() {
	handle(a, huma.Operation{
		OperationID: "share-sensor", Method: http.MethodPut, Path: sharePath, Tags: []string{tagSharing},
		Summary: "Share a sensor with somebody, or change what they may do",
		Description: "viewer: sees it with its readings, past and to come, its state and commands. manager: changes and commands it too, and rotates its " +
			"secret. Only the owner shares it, gives it away or deletes it.",
		Security: person(), Errors: []int{http.StatusForbidden, http.StatusConflict},
	}, a.shareSensor)
	handle(a, huma.Operation{
		OperationID: "list-shares", Method: http.MethodGet, Path: sensorPath + "/shares", Tags: []string{tagSharing},
		Summary:  "List with whom a sensor is shared",
		Security: person(), Errors: []int{http.StatusForbidden},
	}, a.listShares)
	handle(a, huma.Operation{
		OperationID: "unshare-sensor", Method: http.MethodDelete, Path: sharePath, Tags: []string{tagSharing},
		Summary:     "Take a sensor away from somebody, or give it up oneself",
		Description: "Their sockets close, or are told, within a second.",
		Security:    person(), Errors: []int{http.StatusForbidden},
	}, a.unshareSensor)
}

type shareOrder struct {
	Access string `json:"access,omitempty" enum:"viewer,manager" default:"viewer"`
}

type shareInput struct {
	Serial   string      `path:"serial_no"`
	Username string      `path:"username"`
	Body     *shareOrder `required:"false"`
}

// share is one person a sensor is shared with.
type share struct {
	Username string    `json:"username"`
	Access   string    `json:"access" enum:"viewer,manager"`
	Since    Timestamp `json:"since" doc:"When the access was given, or last changed"`
}

func shareOf(s auth.Shared) share {
	return share{Username: s.Username, Access: s.Access.String(), Since: Timestamp(s.Since)}
}

type shareOutput struct{ Body share }

func (a *API) shareSensor(ctx context.Context, in *shareInput) (*shareOutput, error) {
	access := auth.ViewerAccess
	if in.Body != nil && in.Body.Access != "" {
		access = auth.AccessNamed(in.Body.Access)
	}
	var given auth.Shared
	err := a.alone(ctx, func() error {
		dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
		if err != nil {
			return err
		}
		if given, err = a.deps.Sharing.Share(ctx, dev.SensorID, in.Username, access); err != nil {
			return err
		}
		if dev.AccessOf(given.UserID) == access {
			return nil
		}
		dev.Shares = dev.SharedWith(given.UserID, access)
		a.deps.Directory.Put(dev)
		a.deps.Changes.Notify(auth.Change{Kind: auth.ShareAdded, Serial: dev.Serial, SensorID: dev.SensorID, UserID: given.UserID})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shareOutput{Body: shareOf(given)}, nil
}

type sharePage struct {
	Items []share `json:"items" nullable:"false"`
	Next  *string `json:"next_cursor" doc:"null: a sensor has no more shares than fit on a page"`
}

type sharesOutput struct{ Body sharePage }

func (a *API) listShares(ctx context.Context, in *serialInput) (*sharesOutput, error) {
	dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Sharing.Shares(ctx, dev.SensorID)
	if err != nil {
		return nil, err
	}
	page := sharePage{Items: make([]share, len(found))}
	for i, s := range found {
		page.Items[i] = shareOf(s)
	}
	return &sharesOutput{Body: page}, nil
}

type unshareInput struct {
	Serial   string `path:"serial_no"`
	Username string `path:"username"`
}

func (a *API) unshareSensor(ctx context.Context, in *unshareInput) (*struct{}, error) {
	p, action := principal(ctx), auth.Own
	if strings.EqualFold(in.Username, p.Username) {
		action = auth.Leave
	}
	return nil, a.alone(ctx, func() error {
		dev, err := a.sensorFor(p, action, in.Serial)
		if err != nil {
			return err
		}
		userID, err := a.deps.Sharing.Unshare(ctx, dev.SensorID, in.Username)
		if err != nil {
			return err
		}
		dev.Shares = dev.SharedWith(userID, auth.NoAccess)
		a.deps.Directory.Put(dev)
		a.deps.Changes.Notify(auth.Change{Kind: auth.ShareRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: userID})
		return nil
	})
}
