package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// userCommand is `sensorcast user`: accounts.
type userCommand struct {
	Create             userCreate       `cmd:"" help:"Create an account; the first one becomes admin."`
	List               userList         `cmd:"" help:"List accounts." example:"sensorcast user list --q example.com"`
	Show               userShow         `cmd:"" help:"Show an account." example:"sensorcast user show ann"`
	Disable            userDisable      `cmd:"" help:"Keep somebody out, and end all they have open." example:"sensorcast user disable bob"`
	Enable             userEnable       `cmd:"" help:"Let them in again." example:"sensorcast user enable bob"`
	Role               userRole         `cmd:"" help:"Make somebody admin, or not." example:"sensorcast user role bob admin"`
	Password           userPassword     `cmd:"" help:"Give an account a new password." example:"sensorcast user password bob; printf %s $NEW | sensorcast user password bob --password-stdin"`
	RemoveSecondFactor userRemoveFactor `cmd:"" help:"Turn off somebody's second factor, when they have lost it." example:"sensorcast user remove-second-factor bob"`
	Delete             userDelete       `cmd:"" help:"Delete an account with its sensors and their history." example:"sensorcast user delete bob"`
	Invite             userInvite       `cmd:"" help:"Invite somebody to make an account." example:"sensorcast user invite --email carl@example.com --expires-in 72h"`
	Invitations        userInvitations  `cmd:"" help:"List invitations that are open." example:"sensorcast user invitations"`
	Uninvite           userUninvite     `cmd:"" help:"Withdraw an invitation." example:"sensorcast user uninvite 01hy…"`
}

// Help is printed below the usage.
func (userCommand) Help() string {
	return `On the server's own machine these need no account: whoever may open the data directory is the operator, whether a server runs or not.

  sensorcast user create ann --email ann@example.com
  sensorcast user list --data-dir /var/lib/sensorcast
  SENSORCAST_TOKEN=… sensorcast user disable bob --url https://sensors.example.com`
}

var (
	accountColumns = []column{
		{"USERNAME", "username"}, {"EMAIL", "email"}, {"FIRST NAME", "first_name"}, {"LAST NAME", "last_name"}, {"ROLE", "role"},
		{"DISABLED", "disabled"}, {"SENSORS", "sensors"}, {"CREATED", "created_at"}, {"LAST LOGIN", "last_login_at"},
	}
	newAccountColumns = []column{{"USERNAME", "username"}, {"EMAIL", "email"}, {"ROLE", "role"}}
	invitationColumns = []column{{"ID", "id"}, {"EMAIL", "email"}, {"ROLE", "role"}, {"CREATED", "created_at"}, {"EXPIRES", "expires_at"}}
)

// account names one.
type account struct {
	reach    `embed:""`
	Username string `arg:"" help:"User name."`
}

type userCreate struct {
	account   `embed:""`
	password  `embed:""`
	Email     string `name:"email" required:"" help:"E-mail address."`
	FirstName string `name:"first-name" placeholder:"NAME" help:"May be left out."`
	LastName  string `name:"last-name" placeholder:"NAME" help:"May be left out."`
}

// Help is printed below the usage.
func (userCreate) Help() string {
	return `Works whatever --registration says, also before the server was started for the first time. Only on the server's own machine.

  sensorcast user create ann --email ann@example.com
  pass show sensorcast/ann | sensorcast user create ann --email ann@example.com --password-stdin`
}

// Run creates the account.
func (c *userCreate) Run(ctx context.Context) error {
	c.create = true
	secret, err := c.read()
	if err != nil {
		return err
	}
	return c.show(ctx, http.MethodPost, "users", fields{
		"username": c.Username, "email": c.Email, "password": secret, "first_name": c.FirstName, "last_name": c.LastName,
	}, newAccountColumns)
}

type userList struct {
	reach `embed:""`
	Text  string `name:"q" placeholder:"TEXT" help:"Part of a name or address."`
}

// Run lists the accounts.
func (c *userList) Run(ctx context.Context) error {
	return c.list(ctx, "users", asked("q", c.Text), 0, accountColumns)
}

type userShow struct {
	account `embed:""`
}

// Run shows the account, which is one of those that the list finds.
func (c *userShow) Run(ctx context.Context) error {
	return c.with(ctx, func(api *client) error {
		found, err := api.items(ctx, "users", asked("q", c.Username), 0)
		if err != nil {
			return err
		}
		for _, item := range found {
			var u struct{ Username string }
			if json.Unmarshal(item, &u) == nil && strings.EqualFold(u.Username, c.Username) {
				return c.print(accountColumns, item)
			}
		}
		return fmt.Errorf("there is no account %s", c.Username)
	})
}

type userDisable struct {
	account `embed:""`
}

// Run disables the account.
func (c *userDisable) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodPatch, at("users", c.Username), fields{"disabled": true}, "disabled %s", c.Username)
}

type userEnable struct {
	account `embed:""`
}

// Run enables the account.
func (c *userEnable) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodPatch, at("users", c.Username), fields{"disabled": false}, "enabled %s", c.Username)
}

type userRole struct {
	account `embed:""`
	Role    string `arg:"" enum:"admin,user" help:"${enum}."`
}

// Run gives the account the role.
func (c *userRole) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodPatch, at("users", c.Username), fields{"role": c.Role}, "%s is %s now", c.Username, c.Role)
}

type userPassword struct {
	account  `embed:""`
	password `embed:""`
}

// Help is printed below the usage.
func (userPassword) Help() string {
	return "All the account's sessions end. Only on the server's own machine; elsewhere people change their own in the dashboard."
}

// Run sets the password.
func (c *userPassword) Run(ctx context.Context) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, at("users", c.Username, "password"), fields{"new_password": secret}, "%s has a new password", c.Username)
}

type userRemoveFactor struct {
	account `embed:""`
}

// Run turns the second factor off.
func (c *userRemoveFactor) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, at("users", c.Username, "second-factor"), nil, "%s logs in with the password alone now", c.Username)
}

type userDelete struct {
	account `embed:""`
	consent `embed:""`
}

// Run deletes the account.
func (c *userDelete) Run(ctx context.Context) error {
	if err := c.ask("the account "+c.Username+" with its sensors and their history", c.Username); err != nil {
		return err
	}
	return c.do(ctx, http.MethodDelete, at("users", c.Username), nil, "deleted %s", c.Username)
}

type userInvite struct {
	reach     `embed:""`
	Email     string        `name:"email" help:"Only who registers with this address may use it; it is mailed there when mail is set up."`
	Role      string        `name:"role" default:"user" enum:"admin,user" help:"What they become: ${enum}."`
	ExpiresIn time.Duration `name:"expires-in" help:"How long it may be used."`
}

// Run invites, and prints the code.
func (c *userInvite) Run(ctx context.Context) error {
	body := fields{"role": c.Role}
	body.maybe("email", c.Email)
	body.seconds("expires_in", c.ExpiresIn)
	return c.show(ctx, http.MethodPost, "invitations", body, []column{
		{"CODE", "code"}, {"ID", "invitation.id"}, {"EMAIL", "invitation.email"}, {"EXPIRES", "invitation.expires_at"},
	})
}

type userInvitations struct {
	reach `embed:""`
}

// Run lists the invitations.
func (c *userInvitations) Run(ctx context.Context) error {
	return c.list(ctx, "invitations", asked(), 0, invitationColumns)
}

type userUninvite struct {
	reach `embed:""`
	ID    string `arg:"" help:"As user invitations lists it."`
}

// Run withdraws the invitation.
func (c *userUninvite) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, at("invitations", c.ID), nil, "withdrew %s", c.ID)
}
