package config

import (
	"fmt"
	"io"
	"net/url"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration as YAML that Load reads back to the same
// configuration, except for what is masked: passwords and tokens are ***, and
// connection strings keep only what Secret.Masked shows.
func (c Config) Print(w io.Writer) error {
	var doc yaml.Node
	if err := doc.Encode(c); err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	show(&doc, c.Source.URI.Masked(), "source", "uri")
	show(&doc, c.Target.URI.Masked(), "target", "uri")
	show(&doc, c.NATS.URL.Masked(), "nats", "url")
	show(&doc, c.Webhook.masked(), "webhook", "url")
	showList(&doc, c.SourceClones, "source_clones")
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return enc.Close()
}

// masked returns the address with what follows the host hidden: it is the secret of
// many a webhook. [Secret.Masked] would show it.
func (w Webhook) masked() string {
	u, err := url.Parse(string(w.URL))
	if err != nil || u.Host == "" {
		return w.URL.String()
	}
	return u.Scheme + "://" + u.Host + "/" + hidden
}

// show sets the scalar at a path of keys.
func show(node *yaml.Node, text string, path ...string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value != path[0] {
			continue
		}
		if len(path) > 1 {
			show(node.Content[i+1], text, path[1:]...)
			return
		}
		value := node.Content[i+1]
		value.Style = 0 // the emitter quotes if the text needs it
		value.SetString(text)
		return
	}
}

// showList sets the scalars of the sequence at a key.
func showList(node *yaml.Node, list URIs, key string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value != key {
			continue
		}
		for j, item := range node.Content[i+1].Content {
			item.Style = 0
			item.SetString(list[j].Masked())
		}
	}
}
