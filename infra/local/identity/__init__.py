"""The token endpoints of Google and of Microsoft Entra ID."""
