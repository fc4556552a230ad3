"""A mailbox for everything the product sends: SMTP and Slack webhooks in, HTTP lists out."""
