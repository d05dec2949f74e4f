//! Whole lives of objects in virtual time: the reconciler as it is, over an API server and an AWS in memory, which fail and
//! end the operator when they are told to.

mod api_server;
mod chaos;
mod cloud;
mod managed;
mod seeds;
mod walk;
mod world;
