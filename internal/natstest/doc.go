// Package natstest starts real NATS servers for tests: in this process, with
// [Start], or in a process of its own that can be killed, with
// [StartProcess], from a configuration file with [StartConfig], and three
// together with [StartCluster]. They listen on free ports of 127.0.0.1 and end with the
// test. A new way to break a server goes here, so that no test has to know how
// servers are run.
package natstest
